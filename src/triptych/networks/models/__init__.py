"""Whole networks, each assembled in one file, and the registry that names them."""
