"""One file per recipe. `affectstream.train.recipe.recipes` finds them here."""
