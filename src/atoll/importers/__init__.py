"""First system files for `atoll init`: one module per thing that a directory may hold."""
