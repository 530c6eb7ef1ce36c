"""One file per data set: where its files lie, how they are labelled, and how they are split."""
