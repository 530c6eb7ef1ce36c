"""Measures whether each person keeps one number, on sequences whose truth is known."""
