"""Public models: the registry that lists them, and the download that checks them."""
