"""What networks and bundles predict for the samples of a prepared data set."""
