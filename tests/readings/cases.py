"""Mask sets to try the readings on."""

from __future__ import annotations

import torch
from hypothesis import strategies as st

from triptych.classes import Classes
from triptych.image.geometry import Geometry
from triptych.mask_set import MaskSet
from triptych.readings.settings import ReadingSettings

NAMES = ("road", "car", "sky", "person")
THINGS = ("car", "person")


def classes(count: int) -> Classes:
    """``count`` classes, stuff and things in turns."""
    return Classes.of(NAMES[:count], things=[name for name in THINGS if name in NAMES[:count]])


def flat(masks, scores=None, **others) -> MaskSet:
    """Masks given pixel by pixel (no resizing); ``scores (N, K+1)`` are probabilities."""
    masks = torch.as_tensor(masks, dtype=torch.float32)
    size = tuple(masks.shape[1:])
    logits = None if scores is None else torch.tensor(scores, dtype=torch.float32).log()
    if "classes" not in others:
        others["classes"] = classes(len(masks) if logits is None else logits.shape[1] - 1)
    return MaskSet(masks, logits, geometry=Geometry(size, size, size), **others)


SIDES = st.integers(1, 7)


@st.composite
def geometries(draw) -> tuple[tuple[int, int], Geometry]:
    """A coarse size, and a geometry that pads, enlarges, shrinks or leaves it, each axis alone."""
    coarse, padded, valid, image = [], [], [], []
    for _ in "hw":
        cells = draw(SIDES)
        stride = draw(st.sampled_from([1, 2, 4]))
        inputs = cells * stride
        kept = inputs - draw(st.integers(0, min(inputs - 1, 2 * stride)))
        coarse.append(cells)
        padded.append(inputs)
        valid.append(kept)
        image.append(draw(st.one_of(st.just(kept), st.integers(1, 20))))
    sizes = [(a, b) for a, b in (padded, valid, image)]
    return (coarse[0], coarse[1]), Geometry(*sizes)


def settings() -> st.SearchStrategy[ReadingSettings]:
    """The rules in which families differ; thresholds are given to each reading."""
    return st.builds(
        ReadingSettings,
        things_only=st.booleans(),
        segment_pixels=st.sampled_from(["kept", "won"]),
        semantic_resize=st.sampled_from(["masks", "scores"]),
    )


@st.composite
def mask_sets(draw, kind: str) -> MaskSet:
    """Random masks of one kind of network: queries, labeller or promptable."""
    (h, w), geometry = draw(geometries())
    seed = torch.Generator().manual_seed(draw(st.integers(0, 2**32 - 1)))
    count = draw(st.integers(1, 4))
    queries = count if kind == "labeller" else draw(st.integers(1, 6))
    masks = 4 * torch.randn(queries, h, w, generator=seed)
    layout = draw(st.sampled_from(["mixed", "mixed", "all inside", "all outside", "one cell"]))
    if layout == "all inside":
        masks = masks.abs() + 0.1
    elif layout == "all outside":
        masks = -masks.abs() - 0.1
    elif layout == "one cell":  # every query is positive on the same cell and nowhere else
        masks = -masks.abs() - 0.1
        masks[:, h // 2, w // 2] *= -1
    if kind == "labeller":
        return MaskSet(masks, None, classes(count), geometry, competition="softmax")
    if kind == "promptable":
        quality = torch.rand(queries, generator=seed)
        thing = Classes.of(["object"], things=["object"])
        return MaskSet(masks, None, thing, geometry, quality=quality, readings=draw(settings()))
    sharpness = draw(st.sampled_from([0.5, 3.0, 8.0]))
    logits = sharpness * torch.randn(queries, count + 1, generator=seed)
    return MaskSet(
        masks,
        logits,
        classes(count),
        geometry,
        readings=draw(settings()),
    )
