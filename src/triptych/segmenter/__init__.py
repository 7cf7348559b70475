"""The front door: a checkpoint with everything around it, from a picture to its set of masks."""

from triptych.segmenter.encoded import EncodedImage
from triptych.segmenter.loading import find_checkpoint, find_device, find_precision, load
from triptych.segmenter.segmenter import Segmenter

__all__ = ["EncodedImage", "Segmenter", "find_checkpoint", "find_device", "find_precision", "load"]
