"""From a Blueprint to Envoy: ir, (translate | xds), snapshot, (ads | envoy). Envoy's shapes stop at xds."""
