"""Teaching a bundle from the coding of one's own recordings."""
