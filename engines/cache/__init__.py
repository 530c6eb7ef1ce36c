"""The cache folder: where it is, and how its files are hashed, written, protected and deleted."""
