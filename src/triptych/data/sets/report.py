"""What those who use a data set are told of its faults: one line, before and after.

``triptych data check`` prints every fault. Evaluation and training print a summary, and stop where
the truth would be wrong.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Literal

from triptych.data.sets.base import Census, DataError, DiskSet, Fault, FaultKind, refuse
from triptych.errors import TriptychError

COUNTED = 100
"""Answers of a class in an image that AP counts."""

Use = Literal["measure", "learn"]


def before_use(data: DiskSet, use: Use) -> list[str]:
    """What to tell about a set before it is measured or trained on; often nothing.

    Raises:
        DataError: the truth would be wrong.
        TriptychError: there is nothing to find in it.
    """
    faults = list(data.faults())
    single: list[Fault] = []
    data.scan(single.append)
    grave = [fault for fault in (*faults, *single) if fault.kind.grave]
    if grave:
        raise DataError(
            f"{grave[0].text}{_more(len(grave))}; triptych data check lists all", grave[0].kind
        )
    if use == "learn":  # evaluation reads every image once, and tells of them afterwards
        faults += single
    census = data.census()
    poor = list(poverty(census))
    if census is not None and not census.objects and not census.crowds:
        lost = [fault for fault in faults if fault.kind is FaultKind.NO_IMAGE]
        if lost or census.bare or not data.semantic:
            reason = f": {lost[0].text}{_more(len(lost))}" if lost else ""
            raise TriptychError(f"{data.title}: {poor[0].text}{reason}; there is nothing to {use}")
    told = [f"{data.title}: {fault.text}" for fault in poor]
    told += [f"{data.title}: {fault.text}" for fault in faults if fault.kind is FaultKind.REMARK]
    if use == "measure" and census is not None and census.densest > COUNTED:
        told.append(
            f"{data.title}: an image has {census.densest:,} objects of one class, and AP counts "
            f"the best {COUNTED} answers for each (as COCO does), so it stays below 100 %"
        )
    return [*summary(data.title, faults), *told]


def summary(title: str, faults: Sequence[Fault]) -> list[str]:
    """One line on faults: how many, of what kinds, and the first; nothing if there are none."""
    told = [fault for fault in faults if fault.kind is not FaultKind.REMARK]
    if not told:
        return []
    kinds = Counter(fault.kind.label for fault in told)
    listed = ", ".join(f"{label}: {count:,}" for label, count in kinds.most_common())
    how_many = "1 fault" if len(told) == 1 else f"{len(told):,} faults"
    return [
        f"{title}: {how_many} ({listed}), such as: {told[0].text}; triptych data check lists all"
    ]


def poverty(census: Census | None) -> Iterator[Fault]:
    """Why there is nothing to find, or to tell apart, in a set of objects."""
    if census is None or census.objects:
        return
    if census.crowds:
        text = (
            f"all {census.crowds:,} objects are crowds (iscrowd: 1): none is told apart, so AP is "
            "undefined; if each is one object, write iscrowd: 0"
        )
    elif census.bare:
        text = (
            f"none of the {census.bare:,} objects has an outline (boxes only); export polygons or "
            "masks"
        )
    else:
        text = "no image has an object"
    yield Fault(FaultKind.NO_OBJECTS, text)


class Collector:
    """A :data:`~triptych.data.sets.base.Note` that stops at grave faults and keeps the others."""

    def __init__(self) -> None:
        self.faults: list[Fault] = []

    def __call__(self, fault: Fault) -> None:
        """Take a fault.

        Raises:
            DataError: it is grave.
        """
        refuse(fault)
        self.faults.append(fault)


def crowded(census: Census | None, queries: int | None) -> list[str]:
    """A line if an image has more segments than a model has queries."""
    if census is None or queries is None or census.most <= queries:
        return []
    return [
        f"{census.where} has {census.most} segments to find, and the model has {queries} queries, "
        "which find one each"
    ]


def _more(count: int) -> str:
    return f" (and {count - 1} more like it)" if count > 1 else ""
