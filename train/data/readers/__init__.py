"""One file per data set: where its files lie and how they are labelled."""
