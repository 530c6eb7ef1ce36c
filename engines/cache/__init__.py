"""Where files that can be made again are kept, how they are hashed, checked and removed."""
