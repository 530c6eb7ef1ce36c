"""Offline training: recipes, their data, the loop, and the way from a checkpoint to a bundle."""
