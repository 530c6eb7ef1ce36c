"""Which recordings: found, or listed in a manifest, shared out between machines and processes."""
