"""What is trained: layers, backbones, decoders, and whole networks, one assembly a file."""
