"""Where faces are in a picture: a detector, its outputs decoded, and the search that uses both."""
