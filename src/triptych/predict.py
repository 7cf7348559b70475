"""A run over images on disk: every readable one gets its results, every other one is named."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from triptych.errors import TriptychError
from triptych.images import load_image
from triptych.inputs import Source
from triptych.masks import MaskSet
from triptych.results import Readings, Results, Standing, remove_leftovers
from triptych.segmenter import Segmenter


@dataclass(frozen=True)
class Outcome:
    """What became of one image."""

    source: Source
    state: str
    """done, skipped or failed."""
    note: str = ""
    """Of a failed one: what is wrong, in one line. Of a skipped one: what is odd, if anything."""


def predict(
    segmenter: Segmenter,
    sources: Sequence[Source],
    out: Path,
    readings: Readings,
    *,
    batch_size: int = 1,
    overwrite: bool = False,
) -> Iterator[Outcome]:
    """Segment images and write their results below ``out``, telling of each when it is through.

    Images whose results are there already are skipped, unless ``overwrite``; see
    :class:`triptych.results.Results` for what is written and when it counts as finished.

    Raises:
        TriptychError: ``out`` cannot be written (any more), or ``batch_size`` is below 1. What is
            wrong with a single image is not raised but told in its outcome.
    """
    if batch_size < 1:
        raise TriptychError(f"batch_size is {batch_size}; it must be at least 1")
    _check_writable(out)
    remove_leftovers(out / source.name for source in sources)
    waiting: list[tuple[Source, Results, Tensor]] = []
    for source in sources:
        results = Results(out / source.name, source.path, segmenter.name, readings)
        standing = Standing.ABSENT if overwrite else results.standing()
        if standing is Standing.FOREIGN:
            yield Outcome(
                source,
                "failed",
                f"{source.path}: {results.path('.json')} belongs to another image of that name; "
                "choose another --out, or --overwrite it",
            )
            continue
        if standing is not Standing.ABSENT:
            note = standing.value if standing is Standing.CHANGED else ""
            yield Outcome(source, "skipped", note)
            continue
        try:
            image = load_image(source.path)
            segmenter.preprocess.resized((image.shape[0], image.shape[1]))
        except TriptychError as error:
            yield Outcome(source, "failed", _about(source, error))
            continue
        waiting.append((source, results, image))
        if len(waiting) == batch_size:
            yield from _finish(segmenter, waiting, out)
            waiting = []
    yield from _finish(segmenter, waiting, out)


def _finish(
    segmenter: Segmenter, batch: Sequence[tuple[Source, Results, Tensor]], out: Path
) -> Iterator[Outcome]:
    found = _segment(segmenter, [image for _, _, image in batch])
    for (source, results, image), masks in zip(batch, found, strict=True):
        try:
            if isinstance(masks, TriptychError):
                raise masks
            results.write(image, masks)
        except TriptychError as error:
            yield Outcome(source, "failed", _about(source, error))
            _check_writable(out)  # a full disk ends the run, a name that is too long does not
        else:
            yield Outcome(source, "done")


def _segment(segmenter: Segmenter, images: Sequence[Tensor]) -> Sequence[MaskSet | TriptychError]:
    """The masks of each image, or what went wrong with it alone."""
    try:
        return segmenter.segment(images)
    except TriptychError as error:
        if len(images) == 1:
            return [error]
        return [_segment(segmenter, [image])[0] for image in images]


def _about(source: Source, error: TriptychError) -> str:
    """One line that names the image."""
    text = str(error)
    return text if str(source.path) in text else f"{source.path}: {text}"


def _check_writable(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out) as probe:
            probe.write(b"x" * 4096)
    except OSError as error:
        raise TriptychError(
            f"cannot write into {out}: {error.strerror or error}; choose another --out"
        ) from error
