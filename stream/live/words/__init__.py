"""Words recognized in live speech."""
