"""The instance reading: objects, each with its mask, class and score. They may overlap."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import overload

import torch
from torch import Tensor

from triptych.readings.components import Component, class_components
from triptych.readings.grid import Grid, blank, reading
from triptych.readings.masks import Masks
from triptych.readings.outcome import Outcome, by_mask
from triptych.readings.scores import best_pairs, pair_scores
from triptych.readings.settings import ReadingSettings
from triptych.readings.shape import Box as Box
from triptych.readings.shape import cut_out


@dataclass(frozen=True, eq=False)
class Instance:
    """One object."""

    mask: Tensor
    """``(H, W)`` bool. Instances read from the same query share it."""
    class_id: int
    name: str
    score: float
    """0 to 1."""
    box: Box
    """``(x0, y0, x1, y1)``, pixel edges tight round the mask: width is ``x1 - x0``."""
    prompt: int | None = None
    """Which prompt it answers; None where nobody pointed."""

    @property
    def area(self) -> tuple[slice, slice]:
        """Rows and columns of the box."""
        left, top, right, bottom = (int(edge) for edge in self.box)
        return slice(top, bottom), slice(left, right)

    @property
    def cut(self) -> Tensor:
        """The mask inside the box, ``(y1 - y0, x1 - x0)`` bool."""
        return self.mask[self.area]


class PlacedInstance(Instance):
    """An object of a large image: of its mask only what lies in the box is kept.

    :attr:`mask` is made anew whenever it is asked for.
    """

    _cut: Tensor
    _size: tuple[int, int]

    def __init__(
        self,
        cut: Tensor,
        size: tuple[int, int],
        class_id: int,
        name: str,
        score: float,
        box: Box,
        prompt: int | None = None,
    ) -> None:
        """``cut`` is the mask inside ``box``, ``size`` that of the image, ``(H, W)``."""
        values = {"class_id": class_id, "name": name, "score": score, "box": box}
        values["prompt"] = prompt
        for key, value in (values | {"_cut": cut, "_size": size}).items():
            object.__setattr__(self, key, value)

    @property
    def mask(self) -> Tensor:
        """``(H, W)`` bool."""
        whole = blank(self._size, torch.bool, self._cut.device)
        whole[self.area] = self._cut
        return whole

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the image."""
        return self._size

    @property
    def cut(self) -> Tensor:
        """The mask inside the box, ``(y1 - y0, x1 - x0)`` bool."""
        return self._cut


@dataclass(frozen=True, eq=False)
class Instances(Sequence[Instance]):
    """Objects of one image, the highest score first."""

    items: tuple[Instance, ...]
    source: str
    """``"queries"``; or ``"connected components"``, if the network only labels pixels: then
    objects of one class that touch are one instance."""

    def __len__(self) -> int:
        return len(self.items)

    @overload
    def __getitem__(self, index: int) -> Instance: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Instance, ...]: ...
    def __getitem__(self, index: int | slice) -> Instance | tuple[Instance, ...]:
        return self.items[index]

    def __iter__(self) -> Iterator[Instance]:
        return iter(self.items)


def read_instances(mask_set: Masks, settings: ReadingSettings | None = None) -> Instances:
    """List the objects (Cheng et al., Mask2Former, 2022, and its released code).

    1. Of all (query, class) pairs the ``top`` highest class scores are taken; of equal ones, the
       first queries, then the first classes.
    2. Pairs of stuff classes are dropped if ``things_only``.
    3. The mask is where the logit is positive; pairs with an empty one are dropped.
    4. The score is the class score times the mean of ``sigmoid(m)`` inside the mask; pairs below
       ``instance_threshold`` are dropped.

    The settings are the mask set's own by default.

    A query may give several instances, one a class. For promptable masks the score is the
    ``quality`` alone, which already estimates how good the mask is. Instances of a pixel labeller
    are the 8-connected components of its thing classes (of all classes unless ``things_only``),
    with the mean softmax probability as score.

    Raises:
        TriptychError: logits are not finite.
    """
    return trace_instances(mask_set, settings or mask_set.readings)[0]


def trace_instances(mask_set: Masks, settings: ReadingSettings) -> tuple[Instances, list[Outcome]]:
    """The instances, and what became of each of the ``N`` queries.

    A query that gave no instance has the outcome of its best pair; where its best class is "no
    object", that is the reason given.
    """
    with reading(mask_set) as grid:
        if mask_set.competition == "softmax":
            return _from_components(mask_set, grid, settings)
        return _from_queries(mask_set, grid, settings)


def _from_queries(
    mask_set: Masks, grid: Grid, settings: ReadingSettings
) -> tuple[Instances, list[Outcome]]:
    threshold, top = settings.instance_threshold, settings.top
    scores, classes = pair_scores(mask_set), mask_set.classes
    labels, _, is_object = best_pairs(mask_set)
    best = labels.tolist()
    outcomes = [Outcome.BEYOND_TOP if real else Outcome.NO_OBJECT for real in is_object.tolist()]
    ranked, order = scores.flatten().sort(descending=True, stable=True)
    pairs = [
        (score, *divmod(pair, len(classes)))
        for score, pair in zip(ranked[:top].tolist(), order[:top].tolist(), strict=True)
    ]
    wanted = [not settings.things_only or thing for thing in classes.is_thing]
    # The mean inside is at most 1, so a score below the threshold stays there.
    asked = {query for score, query, label in pairs if wanted[label] and score >= threshold}
    shapes = cut_out(grid, sorted(asked))
    found: list[Instance] = []
    for score, query, label in pairs:
        if not wanted[label]:
            outcome = Outcome.STUFF
        elif score < threshold:
            outcome = Outcome.LOW_SCORE
        elif (shape := shapes.get(query)) is None:
            outcome = Outcome.NO_PIXEL
        else:
            final = score if mask_set.class_logits is None else score * shape.mean
            outcome = Outcome.KEPT if final >= threshold else Outcome.LOW_SCORE
            if outcome is Outcome.KEPT:
                prompt = None if mask_set.prompt is None else int(mask_set.prompt[query])
                found.append(
                    Instance(shape.mask, label, classes.names[label], final, shape.box, prompt)
                )
        if outcome is Outcome.KEPT or (
            outcomes[query] is Outcome.BEYOND_TOP and label == best[query]
        ):
            outcomes[query] = outcome
    found.sort(key=lambda instance: -instance.score)
    return Instances(tuple(found), "queries"), outcomes


def _from_components(
    mask_set: Masks, grid: Grid, settings: ReadingSettings
) -> tuple[Instances, list[Outcome]]:
    threshold, top = settings.instance_threshold, settings.top
    classes = mask_set.classes
    eligible = [thing or not settings.things_only for thing in classes.is_thing]
    outcomes = [Outcome.NO_PIXEL if thing else Outcome.STUFF for thing in eligible]
    parts: list[Component] = []
    for part in class_components(grid, eligible, mask_set.groups):
        if eligible[part.class_id]:
            parts.append(part)
            outcomes[part.class_id] = Outcome.LOW_SCORE
    passed = sorted((p for p in parts if p.score >= threshold), key=lambda p: -p.score)
    for part in passed:
        outcomes[part.class_id] = Outcome.BEYOND_TOP
    found = []
    for part in passed[:top]:
        outcomes[part.class_id] = Outcome.KEPT
        mask = blank(grid.size, torch.bool, grid.device)
        mask[part.window] = part.mask
        (rows, columns), name = part.window, classes.names[part.class_id]
        box = _box(rows.start, rows.stop, columns.start, columns.stop)
        found.append(Instance(mask, part.class_id, name, part.score, box))
    return Instances(tuple(found), "connected components"), by_mask(outcomes, mask_set.groups)


def _box(top: int, bottom: int, left: int, right: int) -> Box:
    return float(left), float(top), float(right), float(bottom)
