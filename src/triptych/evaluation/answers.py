"""What was found in one image, told in the classes of the data that it is compared with."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from triptych.classes import Classes
from triptych.errors import TriptychError
from triptych.mask_set import MaskSet
from triptych.readings.instance import Instance, PlacedInstance
from triptych.readings.panoptic import PanopticMap
from triptych.truth import Example, ignored_id, map_type


@dataclass(frozen=True)
class Answer:
    """The three readings of one image; None where nobody asked, or a tool gave none."""

    semantic: NDArray[np.integer] | None = None
    """``(H, W)`` class ids; that of void where no class of the data was found."""
    instances: Sequence[Instance] | None = None
    panoptic: PanopticMap | None = None


@dataclass(frozen=True)
class ClassMatch:
    """Which of the data's classes each class of a model is."""

    data: Classes
    table: tuple[int | None, ...]
    """``(K,)`` the data's class id by the model's; None for one that the data do not have."""

    @property
    def extra(self) -> int:
        """How many classes of the model the data do not have."""
        return self.table.count(None)

    @property
    def unknown(self) -> tuple[str, ...]:
        """Classes of the data that the model cannot find."""
        return tuple(n for i, n in enumerate(self.data.names) if i not in self.table)

    def semantic(self, ids: Tensor) -> NDArray[np.integer]:
        """``(H, W)`` ids of the model in those of the data, or that of void where there is none.

        Void of the model, where it was regrouped, is void of the data.
        """
        none, kind = ignored_id(len(self.data)), map_type(len(self.data))
        lookup = np.full(ignored_id(len(self.table)) + 1, none, kind)
        lookup[: len(self.table)] = [none if i is None else i for i in self.table]
        found: NDArray[np.integer] = lookup[ids.numpy()]
        return found

    def instances(self, found: Sequence[Instance]) -> list[Instance]:
        """Instances of the model that are of a class of the data."""
        return [
            _renamed(instance, class_id, self.data.names[class_id])
            for instance in found
            if (class_id := self.table[instance.class_id]) is not None
        ]

    def panoptic(self, found: PanopticMap) -> PanopticMap:
        """The model's map; segments of classes that the data do not have become void."""
        segments = []
        ids = found.ids
        for segment in found.segments:
            class_id = self.table[segment.class_id]
            if class_id is None:
                ids = torch.where(ids == segment.id, 0, ids)
                continue
            thing = self.data.is_thing[class_id]
            name = self.data.names[class_id]
            segments.append(
                dataclasses.replace(segment, class_id=class_id, name=name, is_thing=thing)
            )
        return dataclasses.replace(found, ids=ids, segments=tuple(segments), classes=self.data)

    def answer(
        self,
        masks: MaskSet,
        truth: Example | None = None,
        *,
        semantic: bool = True,
    ) -> Answer:
        """The readings of a mask set, by its own settings.

        Args:
            masks: in main memory.
            truth: what they are compared with; readings that it has no truth for are left out,
                since each costs seconds where images are large. None: all three.
            semantic: False if class maps are not to be compared.

        Raises:
            TriptychError: the mask set has not got a reading that is wanted.
        """
        objects = truth is None or truth.instances is not None or truth.panoptic is not None
        panoptic = truth is None or truth.panoptic is not None
        wanted = {"semantic": semantic, "instances": objects, "panoptic": panoptic}
        masks.require(*(name for name, asked in wanted.items() if asked))
        return Answer(
            self.semantic(masks.semantic().ids) if semantic else None,
            # Average precision ranks by score itself; a threshold would only cut off recall.
            self.instances(masks.instances(threshold=0.0)) if objects else None,
            self.panoptic(masks.panoptic()) if panoptic else None,
        )


def _renamed(instance: Instance, class_id: int, name: str) -> Instance:
    if isinstance(instance, PlacedInstance):
        placed = instance.cut, instance.size, class_id, name, instance.score, instance.box
        return PlacedInstance(*placed)
    return dataclasses.replace(instance, class_id=class_id, name=name)


def match_classes(model: Classes, data: Classes) -> ClassMatch:
    """Match classes by name, whatever their case, spaces, hyphens and underscores.

    Raises:
        TriptychError: not one name is common, or two classes have one name.
    """
    places: dict[str, int] = {}
    for number, name in enumerate(data.names):
        if places.setdefault(plain_name(name), number) != number:
            raise TriptychError(f"the data have two classes called {name!r}; rename one")
    table = tuple(places.get(plain_name(name)) for name in model.names)
    taken = [number for number in table if number is not None]
    if len(set(taken)) < len(taken):
        twice = next(name for number, name in enumerate(data.names) if taken.count(number) > 1)
        raise TriptychError(f"the model has two classes called {twice!r}; rename one")
    if not taken:
        raise TriptychError(
            f"model and data have no class in common: the model has {some(model.names)}; the data "
            f"have {some(data.names)}; give the data the model's names in a data set's YAML file"
        )
    return ClassMatch(data, table)


def plain_name(name: str) -> str:
    """The name of a class without what people write differently: case, hyphens, underscores."""
    return re.sub(r"[\s_-]+", " ", name).strip().casefold()


def some(names: Sequence[str], most: int = 12) -> str:
    """The first ``most`` names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
