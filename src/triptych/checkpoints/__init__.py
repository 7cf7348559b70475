"""Reading and writing checkpoints, ours and those of others."""
