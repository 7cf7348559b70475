"""The same weights and input in transformers: is the answer the same, and how long does it take?"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any, Literal

import torch
from torch import Tensor

from triptych.bench import plain
from triptych.checkpoints.names.family import Published
from triptych.checkpoints.names.registry import family
from triptych.engines.eager import inference
from triptych.engines.graph import differences
from triptych.errors import TriptychError
from triptych.image.preprocess import Batch, Preprocess
from triptych.mask_set import MaskSet
from triptych.networks.contract import Prediction
from triptych.networks.decoders.task import sentence
from triptych.readings.panoptic import PanopticMap
from triptych.segmenter import Segmenter

TOLERANCE = 1e-4
"""Largest difference of logits in fp32, beside the largest logit."""

FEW = 1e-3
"""Share of the pixels at which a reading may differ from the plain one: where two classes, or a
mask and no mask, are as likely but for the last digits."""


@dataclass(frozen=True)
class Agreement:
    """How two results compare."""

    what: str
    kind: Literal["difference", "share"]
    """Of logits: the largest difference beside the largest logit. Of readings: the share of the
    pixels that agree."""
    value: float
    limit: float | None = None
    """The largest difference, or smallest share, that counts as the same; None where nothing is
    promised."""

    @property
    def holds(self) -> bool:
        """Whether it keeps to its limit."""
        if self.limit is None:
            return True
        return self.value <= self.limit if self.kind == "difference" else self.value >= self.limit


@dataclass(frozen=True)
class Theirs:
    """The network and the processor of transformers."""

    model: Any
    processor: Any
    precision: torch.dtype | None

    def forward(self, pixels: Tensor) -> Any:
        """Their output for normalised pixels ``(B, 3, H, W)``, as ours answers without an ask."""
        asked = {}
        if "task_inputs" in self.model.main_input_name:  # OneFormer's
            asked["task_inputs"] = sentence("panoptic").to(pixels).expand(len(pixels), -1)
        with inference(pixels.device, self.precision):
            return self.model(pixel_values=pixels, **asked)

    def readings(self, masks: MaskSet) -> dict[str, Callable[[], Any]]:
        """Their readings of a mask set, as far as they have them, at its thresholds."""
        output, settings = given(masks), masks.readings
        size: dict[str, Any] = {"target_sizes": [masks.geometry.image_size]}
        found = {
            "semantic": lambda: self.processor.post_process_semantic_segmentation(output, **size)[0]
        }
        if masks.class_logits is not None:
            found["instances"] = lambda: self.processor.post_process_instance_segmentation(
                output,
                threshold=settings.instance_threshold,
                return_binary_maps=True,
                **size,
            )[0]
            found["panoptic"] = lambda: self.processor.post_process_panoptic_segmentation(
                output,
                threshold=settings.panoptic_threshold,
                overlap_mask_area_threshold=settings.overlap,
                label_ids_to_fuse=set(masks.classes.stuff_ids),
                **size,
            )[0]
        return found


def given(masks: MaskSet) -> SimpleNamespace:
    """A mask set in the form that their processors take."""
    if masks.class_logits is None:
        return SimpleNamespace(logits=masks.mask_logits[None])
    return SimpleNamespace(
        class_queries_logits=masks.class_logits[None], masks_queries_logits=masks.mask_logits[None]
    )


def logits_of(output: Any) -> tuple[Tensor, Tensor | None]:
    """Mask logits ``(B, N, h, w)`` and class logits ``(B, N, K+1)`` of their output."""
    if "logits" in output:
        return output.logits.float(), None
    return output.masks_queries_logits.float(), output.class_queries_logits.float()


@contextlib.contextmanager
def theirs_of(segmenter: Segmenter, precision: torch.dtype | None) -> Iterator[Theirs]:
    """The network of ``segmenter`` in transformers.

    Args:
        segmenter: is saved in their format, unless it comes from a folder of theirs.
        precision: of autocast; None for fp32.

    Raises:
        TriptychError: transformers is not installed, or it has no such network.
    """
    try:
        import transformers
    except ImportError as error:
        raise TriptychError(
            "--against transformers needs transformers; pip install transformers"
        ) from error
    found = family(segmenter.family).published if segmenter.family else None
    if found is None:
        raise TriptychError(f"transformers has no network like {segmenter.name or 'this one'}")
    with TemporaryDirectory() as name:
        folder = Path(segmenter.name)
        if not (folder.is_dir() and segmenter.notes.get("format") == "transformers"):
            folder = Path(name)
            _with_plain_input(segmenter).save(folder, format="transformers")
        transformers.utils.logging.disable_progress_bar()
        network = getattr(transformers, found.architecture).from_pretrained(
            folder, dtype=segmenter.dtype
        )
    network = network.eval().requires_grad_(False).to(segmenter.device)
    yield Theirs(network, _processor(transformers, found), precision)


def _with_plain_input(segmenter: Segmenter) -> Segmenter:
    """With a preprocessing that transformers has: it is not used here, theirs gets our pixels."""
    return Segmenter(
        segmenter.model,
        Preprocess(pad=False),
        segmenter.network_classes,
        segmenter.readings,
        family=segmenter.family,
        arguments=segmenter.arguments,
    )


def _processor(transformers: Any, published: Published) -> Any:
    name = published.processor["image_processor_type"]
    if name == "OneFormerImageProcessor":
        # Its readings want a table of class names from the hub, and torchvision; the authors read
        # their masks as Mask2Former's.
        name = "Mask2FormerImageProcessor"
    # The one without torchvision, where there are two.
    return (getattr(transformers, f"{name}Pil", None) or getattr(transformers, name))()


def compare_answers(
    segmenter: Segmenter, theirs: Theirs, batch: Batch, made_up: MaskSet | None
) -> list[Agreement]:
    """Whether both networks say the same of a picture, and what both sides read from that.

    Readings are held against the plain ones (:mod:`triptych.bench.plain`) of *their* network's
    answer: ours of our answer, so that all differences add up, and theirs of theirs.

    Args:
        segmenter: ours.
        theirs: of the same weights.
        batch: one picture as network input.
        made_up: what is read in place of both answers.
    """
    pixels = batch.pixels.to(segmenter.device, segmenter.dtype)
    prediction = segmenter.engine(pixels, segmenter.autocast)
    masks, classes = logits_of(theirs.forward(pixels.contiguous()))
    exact = segmenter.autocast is None and theirs.precision is None
    limit = TOLERANCE if exact else None
    found = [
        Agreement(name, "difference", apart, limit)
        for name, apart in differences(prediction, Prediction.from_logits(masks, classes)).items()
    ]

    def mask_set(mask_logits: Tensor, class_logits: Tensor | None) -> MaskSet:
        return MaskSet(
            mask_logits[0].float(),
            None if class_logits is None else class_logits[0].float(),
            segmenter.network_classes,
            batch.geometries[0],
            competition=segmenter.model.competition,  # type: ignore[arg-type]
            readings=segmenter.readings,
        )

    with torch.inference_mode():
        our_masks = made_up or mask_set(prediction.mask_logits, prediction.class_logits)
        their_masks = made_up or mask_set(masks, classes)
        read = theirs.readings(their_masks)
        for name, (ours, other) in _shares(our_masks, their_masks, read).items():
            least = 1 - FEW if exact else None
            found.append(Agreement(f"{name}, ours", "share", ours, least))
            found.append(Agreement(f"{name}, transformers'", "share", other))
    return found


def _shares(
    our_masks: MaskSet, their_masks: MaskSet, read: dict[str, Callable[[], Any]]
) -> dict[str, tuple[float, float]]:
    """Of each reading, the shares of pixels at which ours and theirs agree with the plain one."""
    ids = plain.semantic(their_masks)
    ours: Any = our_masks.semantic().ids
    found = {"semantic": (plain.same_pixels(ours, ids), plain.same_pixels(read["semantic"](), ids))}
    if "panoptic" in read:
        kinds = plain.panoptic(their_masks)
        ours = class_map(our_masks.panoptic())
        other = _their_kinds(read["panoptic"](), kinds.device)
        found["panoptic"] = plain.same_pixels(ours, kinds), plain.same_pixels(other, kinds)
        objects = plain.instances(their_masks)
        listed = [(one.class_id, one.mask) for one in our_masks.instances()]
        others = _their_objects(read["instances"](), their_masks)
        found["instances"] = (
            plain.same_objects(listed, objects),
            plain.same_objects(others, objects),
        )
    return found


def class_map(whole: PanopticMap) -> Tensor:
    """Class of each pixel ``(H, W)`` in a panoptic map, -1 for none."""
    names = [-1, *(segment.class_id for segment in whole.segments)]
    return torch.tensor(names, dtype=torch.long, device=whole.ids.device)[whole.ids.long()]


def _their_kinds(result: Any, device: torch.device) -> Tensor:
    """Class of each pixel in their panoptic map, -1 for none."""
    labels = {segment["id"]: segment["label_id"] for segment in result["segments_info"]}
    table = [labels.get(index, -1) for index in range(max(labels, default=0) + 1)]
    kinds = torch.tensor(table, dtype=torch.long, device=device)
    return kinds[result["segmentation"].to(device).long().clamp(min=0)]


def _their_objects(result: Any, masks: MaskSet) -> plain.Objects:
    """Their instances, less the stuff that ours leave out by definition."""
    return [
        (segment["label_id"], result["segmentation"][index] > 0)
        for index, segment in enumerate(result["segments_info"])
        if masks.classes.is_thing[segment["label_id"]] or not masks.readings.things_only
    ]
