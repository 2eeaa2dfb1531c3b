"""From a blueprint to the mesh in our own words. Pure: no clock, no I/O; knows nothing of Envoy."""
