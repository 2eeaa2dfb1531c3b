"""Pure: what is wanted, what is seen, the target, the difference. No clock, no I/O, no randomness."""
