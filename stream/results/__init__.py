"""From the head to events and readings: attention, segments."""
