"""The recipes of the embedded bundle `pocket`, one for each part."""
