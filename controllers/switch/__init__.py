"""What one switch holds and is sent."""
