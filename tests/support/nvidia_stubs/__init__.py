"""Stand-ins for TensorRT's libraries, with which its real Python bindings import anywhere."""
