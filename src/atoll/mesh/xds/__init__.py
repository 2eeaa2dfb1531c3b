"""From the mesh in our own words to Envoy's typed messages. Pure; `ParseDict` would cost ten times as much."""
