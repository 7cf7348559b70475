"""Where time and memory go, how near that is to the least there can be, and transformers' way."""
