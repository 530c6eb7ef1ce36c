"""From the files of a data set to the one format: `prepare` runs a reader and writes shards and a report."""
