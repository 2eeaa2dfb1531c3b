"""What people may ask for, and (in views) what they may look at. Writes intent, never acts."""
