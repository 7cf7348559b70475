"""A set of masks, as the readings take it.

Letters: ``N`` queries, ``K`` classes, ``h w`` the network's coarse grid, ``H W`` the image.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Literal, Self

import torch
from torch import Tensor

from triptych.classes import Classes
from triptych.errors import TriptychError
from triptych.image.geometry import Geometry
from triptych.readings.settings import ReadingSettings

READINGS = ("semantic", "instances", "panoptic")
"""What a mask set can be read as, if it has classes."""


@dataclass(frozen=True, eq=False, repr=False)
class Masks:
    """What a network says about one image: ``N`` masks, each with a class. Never modified.

    These are the fields, which the readings take; :class:`triptych.mask_set.MaskSet` adds the
    methods that call the readings.

    Three kinds of network fit:

    - *queries* (Mask2Former): independent masks with class logits;
    - *pixel labellers* (SegFormer): ``competition="softmax"``, ``N = K``, query ``i`` is class
      ``i``, no class logits; the masks compete for each pixel by softmax over ``N``;
    - *promptable* (Segment Anything): independent masks of one class with ``quality`` in place
      of class logits; they offer instances alone.

    Queries with classes may have a ``quality`` as well; the readings go by the classes then.

    Raises:
        TriptychError: shapes, or which fields are given, fit none of the three.
    """

    mask_logits: Tensor
    """``(N, h, w)`` float, before sigmoid (or softmax), on the coarse grid."""
    class_logits: Tensor | None
    """``(N, K+1)`` float, last column "no object"; None for the other two kinds."""
    classes: Classes
    geometry: Geometry
    quality: Tensor | None = None
    """``(N,)`` float in 0..1, the network's own estimate of each mask; None for pixel labellers."""
    competition: Literal["independent", "softmax"] = "independent"
    readings: ReadingSettings = field(default_factory=ReadingSettings)
    """The checkpoint's own settings: what the readings use unless they are told otherwise."""
    prompt: Tensor | None = None
    """``(N,)`` int64: which prompt each mask answers; promptable only."""
    image: str = ""
    """Which image this is about (:func:`triptych.image.geometry.image_token`); empty where the
    network looked and answered in one go."""
    task: str | None = None
    """The task that the network was told, if it is told one."""
    groups: tuple[int, ...] | None = None
    """``(N,)`` the class of each mask, ``K`` for none of them: of a pixel labeller whose classes
    were regrouped (:mod:`triptych.readings.regroup`). None: mask ``i`` is class ``i``."""

    def __post_init__(self) -> None:
        if self.mask_logits.ndim != 3 or 0 in self.mask_logits.shape:
            raise TriptychError(
                f"mask_logits have shape {tuple(self.mask_logits.shape)}; expected (N, h, w)"
            )
        queries, columns = len(self.mask_logits), len(self.classes) + 1
        if self.competition == "softmax" and self.groups is not None:
            known = all(0 <= group < columns for group in self.groups)
            fits = known and len(self.groups) == queries
            fits = fits and self.class_logits is None and self.quality is None
            wanted = f"a group from 0 to {columns - 1} for each mask (a regrouped pixel labeller)"
        elif self.competition == "softmax":
            fits = self.class_logits is None and self.quality is None and queries == columns - 1
            wanted = f"{columns - 1} masks, no class_logits and no quality (a pixel labeller)"
        elif self.groups is not None:
            fits, wanted = False, "groups for a pixel labeller alone"
        elif self.competition != "independent":
            fits, wanted = False, "competition 'independent' or 'softmax'"
        elif self.class_logits is not None:
            fits = tuple(self.class_logits.shape) == (queries, columns)
            wanted = f"class_logits of shape ({queries}, {columns})"
        else:
            fits = self.quality is not None and columns == 2
            wanted = f"class_logits, or quality of shape ({queries},) with a single class"
        for values in (self.quality, self.prompt):
            fits = fits and (values is None or tuple(values.shape) == (queries,))
        if not fits:
            raise TriptychError(
                f"a mask set of {queries} {self.competition} masks and {columns - 1} classes "
                f"does not fit together; expected {wanted}"
            )

    def __repr__(self) -> str:
        queries, h, w = self.mask_logits.shape
        height, width = self.geometry.image_size
        return (
            f"{type(self).__name__}({queries} {self.competition} masks on {w}x{h} cells, "
            f"{len(self.classes)} classes, image {width}x{height})"
        )

    def __len__(self) -> int:
        """The number of queries, ``N``."""
        return len(self.mask_logits)

    def to(self, device: torch.device | str) -> Self:
        """The same masks with its tensors on ``device``."""

        def move(tensor: Tensor | None) -> Tensor | None:
            return None if tensor is None else tensor.to(device)

        return dataclasses.replace(
            self,
            mask_logits=self.mask_logits.to(device),
            class_logits=move(self.class_logits),
            quality=move(self.quality),
            prompt=move(self.prompt),
        )

    @property
    def offers(self) -> tuple[str, ...]:
        """Which of :data:`READINGS` there are: of masks without classes, objects alone."""
        promptable = self.class_logits is None and self.competition == "independent"
        return ("instances",) if promptable else READINGS

    def require(self, *readings: str) -> None:
        """See that there are these readings, before work is done for them.

        Raises:
            TriptychError: one of them is not offered.
        """
        missing = [reading for reading in readings if reading not in self.offers]
        if missing:
            raise TriptychError(
                f"a promptable network's masks have no classes, so there is no "
                f"{' and no '.join(missing)} map of them; use instances()"
            )
