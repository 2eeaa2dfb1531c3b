"""
The comparer: a program of its own, which takes copies of requests, asks both releases, and says how they differ.

Here lives its I/O; what a difference is worth is decided in `policies.comparing`. It keeps nothing, decides nothing and
knows no address: one socket gives it copies, one takes its calls, and it talks to the control plane by a pipe, whose
end is its own. So it can run without network, files and rights, and it can be killed at any time.
"""
