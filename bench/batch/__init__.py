"""Many recordings: throughput of processes, kills and resume, shards."""
