"""A run over images on disk: every readable one gets its results, every other one is named."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from triptych.errors import TriptychError
from triptych.image.decode import MAX_PIXELS, MAX_PIXELS_IN_WINDOWS
from triptych.image.find import ImageFile
from triptych.image.preprocess import load_image
from triptych.mask_set import MaskSet
from triptych.predict.files import Results, Standing, remove_leftovers
from triptych.readings.masks import READINGS
from triptych.readings.settings import ReadingSettings
from triptych.segmenter import Segmenter
from triptych.windows.layout import Windows
from triptych.windows.mask_sets import WindowedMasks


@dataclass(frozen=True)
class ImageResult:
    """What became of one image."""

    source: ImageFile
    state: str
    """done, skipped or failed."""
    note: str = ""
    """Of a failed one: what is wrong, in one line. Of a skipped one: what is odd, if anything."""
    objects: Mapping[str, int] = field(default_factory=dict)
    """How many were found of each class; of a video, the most in one frame."""


def predict(
    segmenter: Segmenter,
    sources: Sequence[ImageFile],
    out: Path,
    readings: ReadingSettings,
    *,
    batch_size: int = 1,
    windows: Windows | None = None,
    overwrite: bool = False,
) -> Iterator[ImageResult]:
    """Segment images and write their results below ``out``, telling of each when it is through.

    With ``windows`` each image is cut into these, and they make the batches.

    Images whose results are there already are skipped, unless ``overwrite``; see
    :class:`triptych.predict.files.Results` for what is written and when it counts as finished.

    Raises:
        TriptychError: ``out`` cannot be written (any more), or ``batch_size`` is below 1. What is
            wrong with a single image is not raised but told in its outcome.
    """
    if batch_size < 1:
        raise TriptychError(f"batch_size is {batch_size}; it must be at least 1")
    segmenter.require(*READINGS)

    segment = functools.partial(segmented, segmenter, windows, batch_size)
    check_writable(out)
    remove_leftovers(out / source.name for source in sources)
    waiting: list[tuple[ImageFile, Results, Tensor]] = []
    for source in sources:
        results = Results(
            out / source.name, source.path, segmenter.name, readings, windows, segmenter.table
        )
        if not overwrite and (before := earlier(source, results)):
            yield before
            continue
        try:
            image = load_image(source.path, MAX_PIXELS_IN_WINDOWS if windows else MAX_PIXELS)
            if windows is None:
                segmenter.preprocess.plan((image.shape[0], image.shape[1]))
        except TriptychError as error:
            yield ImageResult(source, "failed", about(source, error))
            continue
        waiting.append((source, results, image))
        if len(waiting) == (1 if windows else batch_size):
            yield from _finish(segment, waiting, out)
            waiting = []
    yield from _finish(segment, waiting, out)


AnyMasks = MaskSet | WindowedMasks


def segmented(
    segmenter: Segmenter, windows: Windows | None, batch_size: int, images: Sequence[Tensor]
) -> Sequence[AnyMasks]:
    """The masks of decoded images, as a whole or in windows."""
    if windows is None:
        return segmenter.segment(images)
    return [segmenter.segment_windows(image, windows, batch_size) for image in images]


def earlier(source: ImageFile, results: Results) -> ImageResult | None:
    """What becomes of a source because of results that are there already; None if nothing."""
    standing = results.standing()
    if standing is Standing.FOREIGN:
        return ImageResult(
            source,
            "failed",
            f"{source.path}: {results.path('.json')} belongs to another image of that name; "
            "choose another --out, or --overwrite it",
        )
    if standing is Standing.ABSENT:
        return None
    return ImageResult(source, "skipped", standing.value if standing is Standing.CHANGED else "")


def _finish(
    segment: Callable[[Sequence[Tensor]], Sequence[AnyMasks]],
    batch: Sequence[tuple[ImageFile, Results, Tensor]],
    out: Path,
) -> Iterator[ImageResult]:
    found = _segment(segment, [image for _, _, image in batch])
    for (source, results, image), masks in zip(batch, found, strict=True):
        try:
            if isinstance(masks, TriptychError):
                raise masks
            objects = results.write(image, masks)
        except TriptychError as error:
            yield ImageResult(source, "failed", about(source, error))
            check_writable(out)  # a full disk ends the run, a name that is too long does not
        else:
            yield ImageResult(source, "done", objects=objects)


def _segment(
    segment: Callable[[Sequence[Tensor]], Sequence[AnyMasks]], images: Sequence[Tensor]
) -> Sequence[AnyMasks | TriptychError]:
    """The masks of each image, or what went wrong with it alone."""
    try:
        return segment(images)
    except TriptychError as error:
        if len(images) == 1:
            return [error]
        return [_segment(segment, [image])[0] for image in images]


def about(source: ImageFile, error: TriptychError) -> str:
    """One line that names the image."""
    text = str(error)
    return text if str(source.path) in text else f"{source.path}: {text}"


def check_writable(out: Path) -> None:
    """See that files can be written into a folder, which is made if it is not there.

    Raises:
        TriptychError: they cannot.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out) as probe:
            probe.write(b"x" * 4096)
    except OSError as error:
        raise TriptychError(
            f"cannot write into {out}: {error.strerror or error}; choose another --out"
        ) from error
