"""The readings of the authors, in the form in which transformers gives its own."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection
from typing import Any

import torch
from torch import Tensor

from triptych.classes import Classes
from triptych.errors import TriptychError
from triptych.interop.accelerate.given import sizes_of
from triptych.interop.accelerate.place import recall
from triptych.interop.accelerate.uncovered import Uncovered
from triptych.readings.instance import read_instances
from triptych.readings.masks import Masks
from triptych.readings.panoptic import read_panoptic
from triptych.readings.semantic import read_semantic
from triptych.readings.settings import ReadingSettings


@dataclasses.dataclass(frozen=True)
class AuthorsRule:
    """Reads outputs of transformers as :mod:`triptych.readings` does."""

    classes: Classes
    settings: ReadingSettings
    run_lengths: Callable[[Tensor], Any] | None

    def semantic(
        self, outputs: Any, target_sizes: Any = None, return_segmentation_scores: bool = False
    ) -> list[Tensor]:
        """Class ids, ``(H, W)`` int64 for each image."""
        if return_segmentation_scores:
            raise TriptychError(
                'rule="authors" gives no scores of all classes; leave return_segmentation_scores '
                'out, or use rule="transformers"'
            )
        return [read_semantic(each).ids.long() for each in self._sets(outputs, target_sizes)]

    def instances(
        self,
        outputs: Any,
        threshold: float = 0.5,
        mask_threshold: float = 0.5,
        overlap_mask_area_threshold: float = 0.8,
        target_sizes: Any = None,
        return_coco_annotation: bool | None = False,
        return_binary_maps: bool | None = False,
    ) -> list[dict[str, Any]]:
        """Objects of each image, the best first; the best lies on top in the map of ids."""
        if return_coco_annotation and return_binary_maps:
            raise Uncovered("two kinds of maps are wanted")
        settings = self.settings.replace(instance_threshold=threshold)
        results = []
        for each in self._sets(outputs, target_sizes):
            found = list(read_instances(each, settings))
            size = each.geometry.image_size
            segmentation: Any = torch.full(size, -1.0, dtype=torch.float32, device="cpu")
            for index in reversed(range(len(found))):
                segmentation[found[index].area][found[index].cut.cpu()] = index
            if return_coco_annotation:
                assert self.run_lengths is not None
                segmentation = self.run_lengths(segmentation)
            if return_binary_maps and found:
                segmentation = torch.stack([one.mask.cpu().float() for one in found])
            segments = [
                {"id": n, "label_id": one.class_id, "was_fused": False, "score": one.score}
                for n, one in enumerate(found)
            ]
            results.append({"segmentation": segmentation, "segments_info": segments})
        return results

    def panoptic(
        self,
        outputs: Any,
        threshold: float = 0.5,
        mask_threshold: float = 0.5,
        overlap_mask_area_threshold: float = 0.8,
        label_ids_to_fuse: Collection[int] | None = None,
        target_sizes: Any = None,
    ) -> list[dict[str, Any]]:
        """Segments of each image; ids ``(H, W)`` int32, 0 for none.

        Args:
            outputs: of the model.
            threshold: score above which a query takes part.
            mask_threshold: changes nothing: the authors have one half.
            overlap_mask_area_threshold: lowest ratio of won to own pixels.
            label_ids_to_fuse: stuff; by default what the names of the classes say.
            target_sizes: ``(H, W)`` of each image.
        """
        settings = self.settings.replace(
            panoptic_threshold=threshold, overlap=overlap_mask_area_threshold
        )
        results = []
        for each in self._sets(outputs, target_sizes, label_ids_to_fuse):
            whole = read_panoptic(each, settings)
            segments = [
                {
                    "id": one.id,
                    "label_id": one.class_id,
                    "was_fused": not one.is_thing,
                    "score": one.score,
                }
                for one in whole.segments
            ]
            results.append({"segmentation": whole.ids, "segments_info": segments})
        return results

    def _sets(
        self, outputs: Any, target_sizes: Any, stuff: Collection[int] | None = None
    ) -> list[Masks]:
        classes = self.classes
        if stuff is not None:
            things = tuple(index not in stuff for index in range(len(classes)))
            classes = dataclasses.replace(classes, is_thing=things)
        labels = getattr(outputs, "class_queries_logits", None)
        masks = outputs.logits if labels is None else outputs.masks_queries_logits
        try:
            sizes = sizes_of(target_sizes, len(masks))
        except Uncovered as error:
            raise TriptychError(f"{error}; give (height, width) of each image") from error
        return [
            Masks(
                masks[index].detach().float(),
                None if labels is None else labels[index].detach().float(),
                classes,
                geometry,
                competition="softmax" if labels is None else "independent",
                readings=self.settings,
            )
            for index, geometry in enumerate(recall(outputs, sizes))
        ]
