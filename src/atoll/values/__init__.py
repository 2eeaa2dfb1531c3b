"""Names, quantities, instants, hashing: values that know nothing of the platform. No clock, no I/O."""
