"""
What services ask the control plane: their feature flags, as a document or evaluated (OFREP), and nothing else.

It stands behind a socket of its own that only the mesh's proxy dials. Who asks is what the proxy says of the outlet
that the question came from.
"""
