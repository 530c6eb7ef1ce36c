"""Exports of iMotions: where their table begins, what it says of a face, and which video it belongs to."""
