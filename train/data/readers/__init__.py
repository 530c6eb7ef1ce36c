"""The data sets that `train prepare` reads: one module each, named after the set, with a `READER`."""
