"""Faces in one frame (detect, crop, quality, encode) and over time (pose, track)."""
