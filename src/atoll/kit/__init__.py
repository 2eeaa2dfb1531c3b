"""What a Python service imports: resilience as one typed policy. Standard library only."""
