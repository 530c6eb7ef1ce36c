"""From torch modules to the ONNX files of a bundle."""
