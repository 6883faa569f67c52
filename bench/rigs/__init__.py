"""What subjects measure with."""
