"""Other software on the same recording, each in an environment of its own."""
