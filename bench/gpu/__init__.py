"""What a GPU gives: rivals on the same networks, decoding on the GPU, FP16 against FP32, latency of a hop."""
