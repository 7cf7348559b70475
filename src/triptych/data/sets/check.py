"""Read a whole data set once and tell what is wrong with it.

Memory holds a digest and the path of each image, beside what the set itself keeps.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from torch import Tensor

from triptych.data.sets.base import (
    Census,
    DataError,
    DiskSet,
    Fault,
    FaultKind,
    read_image,
    same_size,
)
from triptych.data.sets.report import poverty
from triptych.truth import Truth

Seen = dict[bytes, Path]
"""Digests of pictures, and the file of the first one that has it."""


def check(data: DiskSet, seen: Seen) -> Iterator[list[Fault]]:
    """The faults of each image in turn; those of the set as a whole come with the first.

    Args:
        data: read image by image.
        seen: pictures met so far; is added to. Passed from split to split, it shows images that
            a model would be trained and measured on. Pixels are compared, so a copy is found even
            where its file was written anew under another name.

    Yields:
        A list for each image.
    """
    faults = [*data.faults(), *poverty(data.census()), *_same_but_case(data)]
    counts = Counter[str]()
    sound = data.instances and data.census() is None
    for index in range(len(data)):
        path = data.image(index)
        image: Tensor | None = None
        try:
            image = read_image(path)
        except DataError as error:
            faults.append(error.fault)
        try:
            truth = data.truth(index, faults.append)
            counts.update(_objects(truth, data))
            if image is not None:
                same_size(path, image, truth, faults.append)
        except DataError as error:
            faults.append(error.fault)
        if image is not None:
            first = seen.setdefault(_digest(image), path)
            if first != path:
                text = f"images {first} and {path} are the same picture"
                faults.append(Fault(FaultKind.TWICE, text))
        sound = sound and not any(fault.kind.grave for fault in faults)
        if sound and index == len(data) - 1:
            faults += poverty(Census(counts["objects"], counts["crowds"]))
        yield faults
        faults = []


def _objects(truth: Truth, data: DiskSet) -> Iterator[str]:
    """A word for each thing in an image that has a partition."""
    if truth.panoptic is not None:
        for segment in truth.panoptic.segments:
            if data.classes.is_thing[segment.class_id]:
                yield "crowds" if segment.crowd else "objects"


def _digest(image: Tensor) -> bytes:
    digest = hashlib.blake2b(str(tuple(image.shape)).encode(), digest_size=16)
    digest.update(image.contiguous().numpy().data)  # no copy
    return digest.digest()


def _same_but_case(data: DiskSet) -> Iterator[Fault]:
    """Names that some file systems take for one."""
    seen: dict[str, Path] = {}
    for index in range(len(data)):
        path = data.image(index)
        first = seen.setdefault(str(path).casefold(), path)
        if first != path:
            text = f"images {first} and {path}: Windows and macOS take them for one file"
            yield Fault(FaultKind.CASE, text)
