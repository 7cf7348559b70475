"""The one type that crosses every layer: a set of masks, read three ways."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

import torch
from PIL import Image

from triptych.class_table import Merged
from triptych.errors import TriptychError
from triptych.image.decode import ImageLike, load_image
from triptych.readings.explain import Explanation, explain
from triptych.readings.instance import Instances, read_instances
from triptych.readings.masks import Masks
from triptych.readings.panoptic import PanopticMap, read_panoptic
from triptych.readings.regroup import regrouped
from triptych.readings.semantic import SemanticMap, read_semantic
from triptych.readings.settings import ReadingSettings
from triptych.render.panels import panels


@dataclass(frozen=True, eq=False, repr=False)
class MaskSet(Masks):
    """What a network says about one image, and its readings; see :class:`Masks` for the fields."""

    others: Mapping[str, MaskSet] = field(default_factory=dict)
    """By their task, what the network said when it was told another one: each reading takes the
    masks of its own task, if they are here."""

    def told(self, task: str) -> MaskSet:
        """The masks of a task, or these."""
        return self.others.get(task, self)

    def regrouped(self, merged: Merged) -> MaskSet:
        """The same masks, of every task, with the classes that a table makes of theirs.

        See :func:`triptych.readings.regroup.regrouped`.
        """
        others = {task: regrouped(masks, merged) for task, masks in self.others.items()}
        return dataclasses.replace(regrouped(self, merged), others=others)

    def to(self, device: torch.device | str) -> Self:
        """The same masks with its tensors on ``device``."""
        others = {task: masks.to(device) for task, masks in self.others.items()}
        return dataclasses.replace(super().to(device), others=others)

    def semantic(self) -> SemanticMap:
        """One class for every pixel; see :func:`triptych.readings.semantic.read_semantic`."""
        return read_semantic(self.told("semantic"))

    def instances(self, threshold: float | None = None, top: int | None = None) -> Instances:
        """Objects, best first; see :func:`triptych.readings.instance.read_instances`.

        Args:
            threshold: lowest score; the checkpoint's own by default, as all settings.
            top: how many (query, class) pairs are looked at.

        Raises:
            TriptychError: a setting is out of range, or logits are not finite.
        """
        settings = self.readings.replace(instance_threshold=threshold, top=top)
        return read_instances(self.told("instance"), settings)

    def panoptic(self, threshold: float | None = None, overlap: float | None = None) -> PanopticMap:
        """Every pixel in one segment; see :func:`triptych.readings.panoptic.read_panoptic`.

        Args:
            threshold: score above which a query takes part; the checkpoint's own by default.
            overlap: lowest ratio of the pixels that a query wins to its own.

        Raises:
            TriptychError: a setting is out of range, logits are not finite, or the masks have no
                classes (a promptable network).
        """
        settings = self.readings.replace(panoptic_threshold=threshold, overlap=overlap)
        return read_panoptic(self.told("panoptic"), settings)

    def explain(self, settings: ReadingSettings | None = None) -> Explanation:
        """Which rule every query fell to; see :func:`triptych.readings.explain.explain`."""
        return explain(self, settings)

    def best(self) -> MaskSet:
        """Of several masks for one prompt, the likeliest: one for each prompt, in their order.

        Raises:
            TriptychError: the masks answer no prompts.
        """
        if self.prompt is None or self.quality is None:
            raise TriptychError("these masks answer no prompts, so none is the best for one")
        # The best first, and stable: of equal ones the first wins.
        order = self.quality.argsort(descending=True, stable=True)
        chosen = [order[self.prompt[order] == p][0] for p in self.prompt.unique()]
        rows = torch.stack(chosen)
        return dataclasses.replace(
            self,
            mask_logits=self.mask_logits[rows],
            class_logits=None if self.class_logits is None else self.class_logits[rows],
            quality=self.quality[rows],
            prompt=self.prompt[rows],
        )

    def overlay(self, image: ImageLike) -> Image.Image:
        """The readings that there are side by side over the image.

        See :func:`triptych.render.panels.panels`.

        Args:
            image: the picture this mask set was made from: anything that
                :func:`triptych.image.preprocess.load_image` accepts.
        """
        semantic = self.semantic() if "semantic" in self.offers else None
        panoptic = self.panoptic() if "panoptic" in self.offers else None
        return panels(load_image(image), semantic, self.instances(), panoptic)
