"""FP16 variants of FP32 graphs: which nodes stay in FP32, the rewritten graph, and its cache."""
