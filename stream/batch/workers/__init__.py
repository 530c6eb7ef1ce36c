"""Scoring recordings: one, one after the other in a process, in several processes, on a cluster."""
