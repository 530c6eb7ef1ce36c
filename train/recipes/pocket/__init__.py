"""The parts of the embedded bundle."""
