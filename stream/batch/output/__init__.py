"""What a batch leaves in its folder or store, what a later run makes of it, and how it is purged."""
