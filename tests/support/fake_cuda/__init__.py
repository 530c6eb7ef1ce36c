"""Stand-ins for a GPU: a small libcuda, a device in numpy, and TensorRT's objects over numpy."""
