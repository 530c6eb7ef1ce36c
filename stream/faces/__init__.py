"""Faces of one frame (detect, crop, quality) and through time (pose, track)."""
