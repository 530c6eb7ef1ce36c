"""Public models that can take a role in a bundle: the registry, fetching, swapping."""
