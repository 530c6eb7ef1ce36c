"""One file per recipe. `affectstream.train.recipes.registry` finds them here."""
