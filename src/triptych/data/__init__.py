"""Training wing: images with ground truth, from disk to training samples."""
