"""A run over a video: its readings painted over it, and a line of JSON for each frame."""

from __future__ import annotations

import contextlib
import itertools
import json
import sys
from collections import Counter
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TextIO

import torch
from PIL import Image
from torch import Tensor

from triptych.atomic import atomic_write
from triptych.errors import TriptychError
from triptych.image.find import ImageFile
from triptych.predict.files import (
    Results,
    as_data,
    numbered,
    read,
    remove_leftovers,
    segments_with_masks,
)
from triptych.predict.run import AnyMasks, ImageResult, about, check_writable, earlier, segmented
from triptych.readings.masks import READINGS
from triptych.readings.settings import ReadingSettings
from triptych.render.panels import panels
from triptych.render.video import VideoFile
from triptych.segmenter import Segmenter
from triptych.stream.media import count_pictures, video_pictures
from triptych.stream.reader import Picture
from triptych.stream.sources import FILE, local
from triptych.windows.layout import Windows

WIDEST = 4096
"""Pixels across an overlay video, which is drawn smaller if it were wider."""


@dataclass(frozen=True)
class FilmResults(Results):
    """The result files of one video.

    ``NAME.overlay.mp4``
        The three readings side by side over each frame.
    ``NAME.jsonl``
        A line for each frame: its number and time, segments and instances with COCO's compressed
        run lengths; ``"damaged": true`` in place of them where the video is.
    ``NAME.json``
        Video (relative to the file), upright size, model, settings, classes, how many frames there
        are, and of each class the most objects in a frame and the frames with one.

    All come under temporary names first; the last is written when the others are whole.
    """

    format: ClassVar[str] = "triptych-video-prediction"


class FilmRun:
    """Segments a video; :meth:`frames` does the work, and :attr:`outcome` says what became of it.

    Args:
        segmenter: finds the masks.
        source: the video, and the name of its results.
        out: the folder for them.
        readings: how the masks are read.
        batch_size: frames that go through the network together.
        windows: cut every frame into these.
        overwrite: do it again if the results are there already.

    Raises:
        TriptychError: ``out`` cannot be written, or ``batch_size`` is below 1.
    """

    def __init__(
        self,
        segmenter: Segmenter,
        source: ImageFile,
        out: Path,
        readings: ReadingSettings,
        *,
        batch_size: int = 1,
        windows: Windows | None = None,
        overwrite: bool = False,
    ) -> None:
        if batch_size < 1:
            raise TriptychError(f"batch_size is {batch_size}; it must be at least 1")
        segmenter.require(*READINGS)
        check_writable(out)
        remove_leftovers([out / source.name])
        self.source = source
        self.results = FilmResults(
            out / source.name, source.path, segmenter.name, readings, windows, segmenter.table
        )
        self.outcome = None if overwrite else earlier(source, self.results)
        """None while it is under way."""
        self._segmenter = segmenter
        self._windows = windows
        self._batch_size = batch_size
        self._most = Counter[str]()
        self._shown_in = Counter[str]()
        self._done = self._damaged = 0
        self._seconds = 0.0
        self._size: tuple[int, int] | None = None
        self._problem = ""
        self._film: VideoFile | None = None

    @property
    def count(self) -> int | None:
        """About how many frames there are, if the file tells."""
        return count_pictures(self.source.path)

    def frames(self) -> Generator[int, None, None]:
        """Segment frame by frame and give their numbers, each when it is done.

        What breaks off keeps what was done: the outcome says so, and the next run begins anew. A
        run that is left before its end leaves no files.

        Raises:
            TriptychError: the results cannot be written.
        """
        if self.outcome is not None:
            return
        path = self.results.path
        with contextlib.suppress(OSError):  # what follows takes the place of what it described
            path(".json").unlink(missing_ok=True)
        try:
            with atomic_write(path(".overlay.mp4")) as film, atomic_write(path(".jsonl")) as lines:
                with lines.open("w", encoding="utf-8") as file:
                    try:
                        yield from self._written(film, file)
                    finally:
                        if self._film:
                            self._film.close()
                if self._film is None:
                    raise _NothingReadError(self._problem or "holds no picture")
        except _NothingReadError as error:
            self.outcome = ImageResult(self.source, "failed", about(self.source, error))
            return
        if self._problem:
            kept = f"the {self._done} frames before it are in {path('.jsonl')}"
            note = about(self.source, TriptychError(f"{self._problem}; {kept}"))
            self.outcome = ImageResult(self.source, "failed", note, self._most)
            return
        with atomic_write(path(".json")) as temporary:
            whole = json.dumps(self._whole(), allow_nan=False)
            temporary.write_text(whole + "\n", encoding="utf-8")
        self.outcome = ImageResult(self.source, "done", objects=self._most)

    def _written(self, film: Path, lines: TextIO) -> Iterator[int]:
        pictures = enumerate(self._pictures())
        size = 1 if self._windows else min(self._batch_size, sys.maxsize)
        while batch := list(itertools.islice(pictures, size)):
            images = [torch.from_numpy(p.pixels) for _, p in batch if p.pixels is not None]
            try:
                masks = iter(
                    segmented(self._segmenter, self._windows, self._batch_size, images)
                    if images
                    else ()
                )
                for number, picture in batch:
                    line: dict[str, Any] = {"frame": number, "time": picture.media_time}
                    if picture.pixels is None:
                        line["damaged"] = True
                        self._damaged += 1
                    else:
                        image = torch.from_numpy(picture.pixels)
                        line |= self._frame(film, image, picture.media_time or 0.0, next(masks))
                    lines.write(json.dumps(line, allow_nan=False) + "\n")
                    self._done += 1
                    yield number
            except TriptychError as error:
                self._problem = str(error)
                return

    def _pictures(self) -> Iterator[Picture]:
        place, name = local(self.source.path), str(self.source.path)
        try:
            yield from video_pictures(place, name, options=FILE)
        except TriptychError as error:
            self._problem = str(error)

    def _frame(self, film: Path, image: Tensor, moment: float, masks: AnyMasks) -> dict[str, Any]:
        """Paint a frame, and tell what was found in it."""
        semantic, instances, panoptic = read(masks, self.results.readings)
        picture = panels(image, semantic, instances, panoptic, every_class=True)
        if self._film is None:
            self._film = VideoFile(film, _fitting(picture.size))
            self._size = (int(image.shape[0]), int(image.shape[1]))
        if picture.size != self._film.size:
            picture = picture.resize(self._film.size, Image.Resampling.LANCZOS)
        self._film.add(picture, moment)
        self._seconds = moment
        objects = Counter(instance.name for instance in instances)
        self._most |= objects
        self._shown_in.update(objects.keys())
        return {
            "size": {"height": image.shape[0], "width": image.shape[1]},
            "segments": segments_with_masks(panoptic),
            "instance_source": instances.source,
            "instances": [as_data(instance) for instance in instances],
        }

    def _whole(self) -> dict[str, Any]:
        assert self._size is not None
        return self.results.header() | {
            "size": {"height": self._size[0], "width": self._size[1]},
            "frames": self._done,
            "damaged": self._damaged,
            "seconds": round(self._seconds, 6),
            "classes": numbered(self._segmenter.classes),
            "objects": {
                name: {"most": most, "frames": self._shown_in[name]}
                for name, most in self._most.most_common()
            },
        }


class _NothingReadError(TriptychError):
    """Not one frame could be read."""


def _fitting(size: tuple[int, int]) -> tuple[int, int]:
    """The size of a picture that is no wider than :data:`WIDEST`."""
    width, height = size
    if width <= WIDEST:
        return size
    return WIDEST, max(round(height * WIDEST / width), 2)
