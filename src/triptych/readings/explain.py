"""Why a reading came out as it did: how many queries fell to which rule."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType

from triptych.readings.grid import reading
from triptych.readings.instance import trace_instances
from triptych.readings.masks import Masks
from triptych.readings.outcome import Outcome, by_mask
from triptych.readings.panoptic import trace_panoptic
from triptych.readings.scores import best_pairs
from triptych.readings.semantic import read_semantic
from triptych.readings.settings import ReadingSettings
from triptych.readings.shape import cut_out


@dataclass(frozen=True)
class Explanation:
    """For each reading: the number of queries that were kept or fell to each rule.

    The counts of a reading sum to the number of queries ``N``; rules that no query fell to are
    absent. ``print(explanation)`` shows them as a table.
    """

    semantic: Mapping[Outcome, int]
    """A query is kept here if its best class wins a pixel inside its own mask (``m > 0``)."""
    instances: Mapping[Outcome, int]
    """A query is kept if it gave an instance; otherwise its best pair fell to this rule."""
    panoptic: Mapping[Outcome, int]
    """A query is kept if its pixels are (part of) a segment."""

    def __str__(self) -> str:
        lines = [f"{sum(self.panoptic.values())} queries"]
        for reading_ in fields(self):
            counts: Mapping[Outcome, int] = getattr(self, reading_.name)
            lines.append(f"  {reading_.name}")
            lines += [f"    {count:4d}  {outcome.value}" for outcome, count in counts.items()]
        return "\n".join(lines)


def explain(mask_set: Masks, settings: ReadingSettings | None = None) -> Explanation:
    """Count the outcomes of the queries in the three readings.

    Args:
        mask_set: what to read.
        settings: the mask set's own by default.

    Raises:
        TriptychError: logits are not finite.
    """
    settings = settings or mask_set.readings
    objects = trace_instances(mask_set, settings)[1]
    if "panoptic" not in mask_set.offers:
        none = _count([Outcome.NO_CLASS] * len(mask_set))
        return Explanation(semantic=none, instances=_count(objects), panoptic=none)
    return Explanation(
        semantic=_count(_semantic_outcomes(mask_set)),
        instances=_count(objects),
        panoptic=_count(trace_panoptic(mask_set, settings)[1]),
    )


def _count(outcomes: Iterable[Outcome]) -> Mapping[Outcome, int]:
    counted = Counter(outcomes)
    return MappingProxyType({outcome: counted[outcome] for outcome in Outcome if counted[outcome]})


def _semantic_outcomes(mask_set: Masks) -> list[Outcome]:
    ids = read_semantic(mask_set).ids
    if mask_set.competition == "softmax":
        present, count = set(ids.unique().tolist()), len(mask_set.classes)
        of_class = [Outcome.KEPT if i in present else Outcome.NO_PIXEL for i in range(count)]
        return by_mask(of_class, mask_set.groups)
    labels, _, is_object = best_pairs(mask_set)
    outcomes = []
    with reading(mask_set) as grid:
        shapes = cut_out(grid, range(len(mask_set)))
    for query, (label, real) in enumerate(zip(labels.tolist(), is_object.tolist(), strict=True)):
        if not real:
            outcomes.append(Outcome.NO_OBJECT)
        elif (shape := shapes.get(query)) is None:
            outcomes.append(Outcome.NO_PIXEL)
        else:
            wins = (ids[shape.mask] == label).any()
            outcomes.append(Outcome.KEPT if wins else Outcome.OUTVOTED)
    return outcomes
