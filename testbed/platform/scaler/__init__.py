"""The scaler."""
