"""How a process is set up before PyTorch is loaded."""
