"""Pictures to network input: decode, check, resize, normalise, and the exact way back."""
