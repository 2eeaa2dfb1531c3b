"""What people may look at. Pure functions of values; looking never changes anything."""
