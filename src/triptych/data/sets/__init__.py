"""Data sets as they lie on disk: images with ground truth, one file a layout."""
