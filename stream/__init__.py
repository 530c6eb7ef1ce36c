"""From a recording or a live source to timestamped events."""
