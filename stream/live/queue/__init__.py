"""The bounded queue between the capture threads and the worker: placing, sampling, dropping."""
