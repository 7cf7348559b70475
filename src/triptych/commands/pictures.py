"""Three frames of a real street, segmented, in one picture: ``triptych demo --pictures``."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from triptych.atomic import atomic_write
from triptych.errors import TriptychError
from triptych.image.find import find_images
from triptych.predict.run import predict
from triptych.segmenter import load
from triptych.stream.samples import frames_at, street_clip

SECONDS = (4.75, 5.5, 6.5)
"""Of the clip's shots, those that show a street from a person's height."""


def run_demo(out: Path, model: str = "street") -> Path:
    """Segment frames of the packaged clip as ``triptych predict`` does.

    Args:
        out: gets the frames (in ``frames``), the four result files of each, and the picture.
        model: what :func:`triptych.segmenter.load` takes.

    Returns:
        The picture: the readings of all frames, one above the other.

    Raises:
        TriptychError: the clip or the checkpoint is not installed, or ``out`` cannot be written.
    """
    segmenter = load(model)
    for second, frame in zip(SECONDS, frames_at(street_clip(), SECONDS), strict=True):
        with atomic_write(out / "frames" / f"street-{second:.2f}s.png") as path:
            frame.save(path)
    sources, _ = find_images([str(out / "frames")])
    for outcome in predict(segmenter, sources, out, segmenter.readings, overwrite=True):
        if outcome.state == "failed":
            raise TriptychError(outcome.note)
    picture = out / "demo.png"
    with atomic_write(picture) as path:
        _stack([out / f"{source.name}.overlay.png" for source in sources]).save(path)
    return picture


def _stack(pictures: list[Path]) -> Image.Image:
    opened = [Image.open(path).convert("RGB") for path in pictures]
    width = max(picture.width for picture in opened)
    whole = Image.new("RGB", (width, sum(picture.height for picture in opened)))
    top = 0
    for picture in opened:
        whole.paste(picture, (0, top))
        top += picture.height
    return whole
