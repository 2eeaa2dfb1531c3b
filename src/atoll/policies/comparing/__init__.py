"""
The parallel run: three answers to the same request, and what of a difference is the new release's doing.

Here lives how answers are made comparable, how they differ, and how much evidence a difference is. Who sends the
requests, and where the counts are kept, is not known here.
"""
