"""Measures of one frame: landmarks, head pose, eyes, quality, looks, and the picture as a whole."""
