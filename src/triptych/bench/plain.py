"""The reference meaning of the readings, as plain as can be: everything upsampled, then read.

What :mod:`triptych.readings` computes faster, with all that it needs in memory at once.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from triptych.mask_set import MaskSet

Objects = list[tuple[int, Tensor]]
"""Class and mask ``(H, W)`` of each."""


def upsampled(masks: MaskSet) -> Tensor:
    """Mask logits ``(N, H, W)``: to the network's input, the padding cut off, to the image."""
    geometry = masks.geometry
    height, width = geometry.valid_size
    grown = _resize(masks.mask_logits.float(), geometry.input_size)
    return _resize(grown[:, :height, :width], geometry.image_size)


def semantic(masks: MaskSet) -> Tensor:
    """Class ``(H, W)`` of every pixel."""
    if masks.class_logits is None:  # masks compete, and a softmax has its largest where they have
        return upsampled(masks).argmax(0)
    scores = masks.class_logits.softmax(-1)[:, :-1]
    if masks.readings.semantic_resize == "masks":
        return torch.einsum("qk,qhw->khw", scores, upsampled(masks).sigmoid_()).argmax(0)
    geometry = masks.geometry
    height, width = geometry.valid_size
    probable = _resize(masks.mask_logits.float(), geometry.input_size).sigmoid_()
    totals = torch.einsum("qk,qhw->khw", scores, probable)[:, :height, :width]
    return _resize(totals, geometry.image_size).argmax(0)


def panoptic(masks: MaskSet) -> Tensor:
    """Class ``(H, W)`` of the segment of every pixel, -1 where it is void."""
    assert masks.class_logits is not None
    settings = masks.readings
    scores, labels = masks.class_logits.softmax(-1).max(-1)
    taking_part = (labels < len(masks.classes)) & (scores > settings.panoptic_threshold)
    kind = torch.full(masks.geometry.image_size, -1, dtype=torch.long, device=labels.device)
    if not taking_part.any():
        return kind
    probable = upsampled(masks)[taking_part].sigmoid_()
    winner = (probable * scores[taking_part, None, None]).argmax(0)
    for query, label in enumerate(labels[taking_part].tolist()):
        own, won = probable[query] >= 0.5, winner == query
        pixels = won & own if settings.segment_pixels == "kept" else won
        if pixels.any() and own.any() and int(won.sum()) / int(own.sum()) >= settings.overlap:
            kind[pixels] = label
    return kind


def instances(masks: MaskSet) -> Objects:
    """The objects."""
    assert masks.class_logits is not None
    settings = masks.readings
    scores = masks.class_logits.softmax(-1)[:, :-1]
    ranked, order = (x[: settings.top] for x in scores.flatten().sort(descending=True, stable=True))
    logits = upsampled(masks)
    found: Objects = []
    for score, pair in zip(ranked.tolist(), order.tolist(), strict=True):
        query, label = divmod(pair, scores.shape[1])
        inside = logits[query] > 0
        if not inside.any() or (settings.things_only and not masks.classes.is_thing[label]):
            continue
        if score * float(logits[query][inside].sigmoid().mean()) >= settings.instance_threshold:
            found.append((label, inside))
    return found


def same_pixels(one: Tensor, other: Tensor) -> float:
    """Share of the pixels at which two maps agree."""
    return float((one == other).float().mean())


def same_objects(one: Objects, other: Objects) -> float:
    """Share of the objects' pixels that agree: intersections over unions, objects matched.

    Each object of ``one`` is matched with the object of its class in ``other`` that it overlaps
    most and that is still free. The pixels of objects without a match agree with nothing.
    """
    free = list(range(len(other)))
    both = 0
    for label, mask in one:
        shared = {n: int((mask & other[n][1]).sum()) for n in free if other[n][0] == label}
        if shared:
            best = max(shared, key=lambda n: shared[n])
            free.remove(best)
            both += shared[best]
    total = _pixels(one) + _pixels(other) - both
    return both / total if total else 1.0


def _pixels(objects: Sequence[tuple[int, Tensor]]) -> int:
    return sum(int(mask.sum()) for _, mask in objects)


def _resize(maps: Tensor, size: tuple[int, int]) -> Tensor:
    if tuple(maps.shape[1:]) == size:
        return maps.clone()
    return F.interpolate(maps[None], size, mode="bilinear", align_corners=False)[0]
