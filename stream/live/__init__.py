"""Live sources: cameras, microphones and network streams on their way through a recognizer."""
