"""One file a runtime: each runs compiled graphs as an `Engine`."""
