"""The controller's REST interface."""
