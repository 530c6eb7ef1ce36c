"""From data sets as they come to the one layout that every recipe reads."""
