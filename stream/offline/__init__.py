"""Recordings: one session from opening to its last event, and many files one after the other."""
