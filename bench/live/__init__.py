"""Measurements of live sources."""
