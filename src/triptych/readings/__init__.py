"""The three readings of one mask set: pure functions on tensors."""
