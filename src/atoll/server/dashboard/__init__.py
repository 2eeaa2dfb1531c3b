"""A read-only page over the same views, for a browser on this machine."""
