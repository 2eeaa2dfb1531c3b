"""
The canary judge says whether a new release is worse than the one that serves, as good, or not yet known to be.

Here lives what turns counters into evidence and evidence into a verdict, and the sentence that explains it. Nothing
here knows how traffic is moved, where counters come from, or where the state is kept: evidence goes in with the state,
a verdict comes out with the next state. A further metric is a module beside `failures` and `slowness`.
"""
