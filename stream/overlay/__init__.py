"""A video of the recording with what was found drawn on it."""
