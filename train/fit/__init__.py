"""The training loop, what surrounds it, and the searches and folds that run it many times."""
