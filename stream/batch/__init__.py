"""Many recordings: find them, share them out, score them in several processes, and go on after a stop."""
