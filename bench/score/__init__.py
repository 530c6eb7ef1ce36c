"""Measurements of scoring recordings."""
