"""From prepared samples to batches, as serving would see them."""
