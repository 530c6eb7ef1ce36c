"""Networks on the same samples: which is better, what it costs, and which to take."""
