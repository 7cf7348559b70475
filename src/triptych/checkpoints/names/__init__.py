"""How files of others name tensors and describe networks: the networks know none of it."""
