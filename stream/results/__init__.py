"""From the head to events and readings: attention, smoothing, segments."""
