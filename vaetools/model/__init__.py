"""Models: folders of ONNX graphs with a manifest, found by a registry and run by one runtime."""
