"""How good bundles and runs are, and whether one is better than another."""
