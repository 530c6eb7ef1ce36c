"""Late fusion: frozen bundles, and the few numbers that join them."""
