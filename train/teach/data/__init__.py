"""What was coded, and what a bundle's head and encoders were given there."""
