"""The parts, unaware of each other. Each holds its state and writes its own lines into the generated function."""
