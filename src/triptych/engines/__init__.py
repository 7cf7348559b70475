"""What can run a network: PyTorch as it is, PyTorch compiled, OpenVINO, ONNX Runtime."""
