"""Plans: graphs compiled for one kind of GPU. Building them, and the cache that keeps them."""
