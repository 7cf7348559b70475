"""From backbone maps to per-pixel embeddings, and from those to a set of masks."""
