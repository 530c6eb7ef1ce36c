"""From a window to probabilities: encoders, and the head that joins what they give."""
