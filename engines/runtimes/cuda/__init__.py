"""Runs TensorRT plans on an NVIDIA GPU: driver, memory, streams, and the thread that owns them."""
