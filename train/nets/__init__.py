"""What recipes are made of: encoders and heads, tasks, losses, weights to start from."""
