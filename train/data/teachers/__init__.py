"""Scripts that ask other models for what ours learn. Each runs in an environment of its own."""
