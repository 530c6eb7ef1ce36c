"""From a trained network to a bundle that streams."""
