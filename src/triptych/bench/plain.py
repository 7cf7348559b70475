"""The reference meaning of the readings, as plain as can be: everything upsampled, then read.

What :mod:`triptych.readouts` computes faster, with all that it needs in memory at once.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from triptych.masks import MaskSet

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
    logits = upsampled(masks)
    if masks.class_logits is None:  # masks compete, and a softmax has its largest where they have
        return logits.argmax(0)
    scores = masks.class_logits.softmax(-1)[:, :-1]
    return torch.einsum("qk,qhw->khw", scores, logits.sigmoid_()).argmax(0)


def panoptic(masks: MaskSet, threshold: float = 0.8, overlap: float | None = None) -> Tensor:
    """Class ``(H, W)`` of the segment of every pixel, -1 where it is void."""
    assert masks.class_logits is not None
    overlap = masks.overlap if overlap is None else overlap
    scores, labels = masks.class_logits.softmax(-1).max(-1)
    kept = (labels < len(masks.classes)) & (scores > threshold)
    kind = torch.full(masks.geometry.image_size, -1, device=labels.device)
    if not kept.any():
        return kind
    probable = upsampled(masks)[kept].sigmoid_()
    winner = (probable * scores[kept, None, None]).argmax(0)
    for query, label in enumerate(labels[kept].tolist()):
        inside = probable[query] >= 0.5
        won = (winner == query) & inside
        if won.any() and int(won.sum()) / int(inside.sum()) >= overlap:
            kind[won] = label
    return kind


def instances(masks: MaskSet, threshold: float = 0.5, top: int = 100) -> Objects:
    """The objects."""
    assert masks.class_logits is not None
    scores = masks.class_logits.softmax(-1)[:, :-1]
    ranked, order = scores.flatten().sort(descending=True, stable=True)
    logits = upsampled(masks)
    found: Objects = []
    for score, pair in zip(ranked[:top].tolist(), order[:top].tolist(), strict=True):
        query, label = divmod(pair, scores.shape[1])
        inside = logits[query] > 0
        if not inside.any() or (masks.things_only and not masks.classes.is_thing[label]):
            continue
        if score * float(logits[query][inside].sigmoid().mean()) >= threshold:
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
