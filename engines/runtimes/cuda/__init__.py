"""What runs plans on an NVIDIA GPU: the driver, memory and streams, one thread, slots."""
