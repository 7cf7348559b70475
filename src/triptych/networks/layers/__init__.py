"""Building blocks that more than one network uses."""
