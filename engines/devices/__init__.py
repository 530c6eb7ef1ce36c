"""Which device computes: what is there, what was chosen, and a graph opened on it."""
