"""Explanations of a trained network from the inside: attention, gradients, saliency."""
