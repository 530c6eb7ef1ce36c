"""Compiled graphs, their runtimes and the bundles that hold them."""
