"""Faces over time: each keeps a number, steady poses, blinks."""
