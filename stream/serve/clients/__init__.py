"""What clients of a session receive."""
