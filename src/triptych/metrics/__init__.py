"""mIoU, mask AP and PQ."""
