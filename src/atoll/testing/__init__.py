"""Public: fakes that meet the ports, and the simulator."""
