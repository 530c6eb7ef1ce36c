"""Plans: graphs compiled for one kind of GPU. Building, checking and caching them."""
