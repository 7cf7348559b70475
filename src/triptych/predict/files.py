"""The four files that hold what was found in one image, and whether they are there already."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from PIL import Image
from scipy.ndimage import find_objects
from torch import Tensor

from triptych.atomic import atomic_write
from triptych.class_table import ClassTable
from triptych.classes import Classes
from triptych.mask_set import MaskSet
from triptych.readings.instance import Instance, Instances
from triptych.readings.masks import READINGS
from triptych.readings.panoptic import PanopticMap
from triptych.readings.semantic import SemanticMap
from triptych.readings.settings import ReadingSettings
from triptych.render.coco import encode_ids
from triptych.render.panels import panels
from triptych.render.run_lengths import encode_mask
from triptych.windows.layout import Windows
from triptych.windows.mask_sets import WindowedMasks

FORMAT = "triptych-prediction"
VERSION = 1


class Standing(Enum):
    """What the results of an image on disk are worth."""

    ABSENT = "not finished"
    SAME = "finished"
    CHANGED = "finished with another model or other settings, or the image is newer"
    FOREIGN = "results of another image"


@dataclass(frozen=True)
class Results:
    """The result files of one image.

    ``NAME.semantic.png``
        Class ids, 8-bit grey; 16-bit if there are more than 255 classes. 255 (65535) is void,
        which a pixel labeller has whose classes were regrouped.
    ``NAME.panoptic.png``
        Segment ids as COCO has them, R + 256 G + 256² B; 0 is void.
    ``NAME.overlay.png``
        The three readings side by side over the image.
    ``NAME.json``
        Image (relative to the file), upright size, model, settings, classes, segments, and
        instances with COCO's compressed run lengths. Boxes are x, y, width, height in pixels.

    The JSON is written last: where it is, the others are whole and belong to it.
    """

    base: Path
    """Where the files lie, with ``NAME``."""
    image: Path
    model: str
    readings: ReadingSettings
    windows: Windows | None = None
    """How the image was cut, if it was."""
    table: ClassTable | None = None
    """What the classes were made of, if they were regrouped."""

    def path(self, end: str) -> Path:
        """The file with one of the ends :data:`triptych.image.find.RESULTS`."""
        return self.base.with_name(self.base.name + end)

    format: ClassVar[str] = FORMAT
    """What kind of results these are, for whoever reads them."""

    def header(self) -> dict[str, Any]:
        """What tells these results from others of the same name."""
        return {
            "format": self.format,
            "version": VERSION,
            "image": Path(os.path.relpath(self.image, self.base.parent)).as_posix(),
            "model": self.model,
            "settings": self.readings.to_dict()
            | ({"windows": dataclasses.asdict(self.windows)} if self.windows else {})
            | ({"regroup": self.table.to_list()} if self.table else {}),
        }

    def standing(self) -> Standing:
        """Compare what is on disk with what would be written."""
        path = self.path(".json")
        try:
            found = json.loads(path.read_bytes())
            header = {name: found.get(name) for name in self.header()}
            is_newer = self.image.stat().st_mtime > path.stat().st_mtime
        except (OSError, ValueError, AttributeError):  # absent, not JSON, not an object
            return Standing.ABSENT
        if header["image"] != self.header()["image"]:
            return Standing.FOREIGN
        return Standing.CHANGED if is_newer or header != self.header() else Standing.SAME

    def write(self, image: Tensor, masks: MaskSet | WindowedMasks) -> Counter[str]:
        """Make the readings and write the files; those of an earlier run are replaced.

        Args:
            image: uint8 ``(H, W, 3)``.
            masks: what was found in it.

        Returns:
            How many objects of each class there are.

        Raises:
            TriptychError: a file cannot be written, or the network gave nonsense (NaN).
        """
        semantic, instances, panoptic = read(masks, self.readings)
        # From here until the new one is there, nothing claims that the files are finished.
        with contextlib.suppress(OSError):
            self.path(".json").unlink(missing_ok=True)
        pictures: dict[str, Callable[[], Image.Image]] = {  # made one by one: they may be large
            ".semantic.png": lambda: _class_ids(semantic.ids, len(masks.classes)),
            ".panoptic.png": lambda: encode_ids(panoptic.ids),
            ".overlay.png": lambda: panels(image, semantic, instances, panoptic),
        }
        for end, draw in pictures.items():
            with atomic_write(self.path(end)) as path:
                draw().save(path, compress_level=1)
        contents = self.header() | {
            "size": {"height": image.shape[0], "width": image.shape[1]},
            "classes": numbered(masks.classes),
            "segments": _segments(panoptic),
            "instance_source": instances.source,
            "instances": [as_data(instance) for instance in instances],
        }
        with atomic_write(self.path(".json")) as path:
            path.write_text(json.dumps(contents, allow_nan=False) + "\n", encoding="utf-8")
        return Counter(instance.name for instance in instances)


def read(
    masks: MaskSet | WindowedMasks, settings: ReadingSettings
) -> tuple[SemanticMap, Instances, PanopticMap]:
    """The three readings of a mask set.

    Raises:
        TriptychError: it has not got them all.
    """
    masks.require(*READINGS)
    return (
        masks.semantic(),
        masks.instances(settings.instance_threshold, settings.top),
        masks.panoptic(settings.panoptic_threshold, settings.overlap),
    )


def numbered(classes: Classes) -> list[dict[str, Any]]:
    """Classes with their ids, as plain data."""
    return [{"id": number, **entry} for number, entry in enumerate(classes.to_list())]


def remove_leftovers(bases: Iterable[Path]) -> None:
    """Delete what a killed run left of these results under temporary names.

    Only of these: another run may be writing other results into the same folders.
    """
    names = defaultdict(set)
    for base in bases:
        names[base.parent].add(base.name)
    for folder, ours in names.items():
        with contextlib.suppress(OSError):  # not there yet, most of the time
            for entry in os.scandir(folder):
                left = _LEFTOVER.fullmatch(entry.name)
                if left and left["name"] in ours:
                    os.unlink(entry)


_LEFTOVER = re.compile(
    r"\.(?P<name>.+?)(\.semantic|\.panoptic|\.overlay)?\.[0-9a-f]{8}\.tmp\.(png|jsonl?|mp4)"
)
"""The temporary names that :func:`triptych.atomic.atomic_write` gives."""


def _class_ids(ids: Tensor, classes: int) -> Image.Image:
    return Image.fromarray(ids.cpu().numpy().astype(np.uint8 if classes <= 255 else np.uint16))


def _segments(panoptic: PanopticMap) -> list[dict[str, Any]]:
    windows = find_objects(panoptic.ids.cpu().numpy())
    found = []
    for segment in panoptic.segments:
        rows, columns = windows[segment.id - 1]
        found.append(
            {
                "id": segment.id,
                "class_id": segment.class_id,
                "class": segment.name,
                "thing": segment.is_thing,
                "score": round(segment.score, 6),
                "area": segment.area,
                "bbox": [
                    columns.start,
                    rows.start,
                    columns.stop - columns.start,
                    rows.stop - rows.start,
                ],
            }
        )
    return found


def as_data(instance: Instance) -> dict[str, Any]:
    """An object as plain data."""
    x0, y0, x1, y1 = instance.box
    lengths = encode_mask(instance.mask.cpu(), instance.box)
    return {
        "class_id": instance.class_id,
        "class": instance.name,
        "score": round(instance.score, 6),
        "bbox": [x0, y0, x1 - x0, y1 - y0],
        "segmentation": _as_text(lengths),
    }


def segments_with_masks(panoptic: PanopticMap) -> list[dict[str, Any]]:
    """Segments as plain data, with run lengths like those of instances."""
    found = _segments(panoptic)
    for entry in found:
        x, y, width, height = entry["bbox"]
        box = (float(x), float(y), float(x + width), float(y + height))
        entry["segmentation"] = _as_text(
            encode_mask((panoptic.ids == entry["id"]).cpu().numpy(), box)
        )
    return found


def _as_text(lengths: dict[str, Any]) -> dict[str, Any]:
    return {"size": lengths["size"], "counts": lengths["counts"].decode("ascii")}
