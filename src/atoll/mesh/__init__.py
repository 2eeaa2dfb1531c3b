"""From a Blueprint to Envoy: ir, (translate | xds), snapshot, (ads | envoy). Envoy's shapes live in xds and above only."""
