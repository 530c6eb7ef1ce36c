"""What recipes are made of: encoders, heads and other parts, tasks, losses, weights to start from."""
