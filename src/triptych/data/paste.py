"""Pasting objects into street frames: composites with exact instance truth.

Ghiasi et al., "Simple Copy-Paste is a Strong Data Augmentation Method for Instance Segmentation"
(CVPR 2021); here with the frame's perspective: objects stand on road or pavement, have the size
that objects have at that row, and nearer ones hide those behind them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from triptych.data.camvid import BICYCLIST, CAR, PAVEMENT, PEDESTRIAN, ROAD
from triptych.data.cutouts import Cutout
from triptych.data.scene import MIN_SHARE, MIN_VISIBLE, Pixels, Regions, Scene, hide
from triptych.truth import IGNORE

# Measured on the single objects of CamVid's training frames (480x360): an object whose box ends
# at row b is about SLOPE * (b - horizon) pixels high, the horizon lying HORIZON_ABOVE_ROAD pixels
# above the first row with ROAD_PIXELS pixels of road. The three cameras tilt differently, so one
# horizon for all would not do: the spread about the line would be half as large again.
ROAD_PIXELS = 8
HORIZON_ABOVE_ROAD = 8
SLOPE = {CAR: 1.05, PEDESTRIAN: 1.35, BICYCLIST: 1.3}
SPREAD = 0.15
"""Standard deviation of the logarithm of the height about that line."""

GROUND = {CAR: (ROAD,), PEDESTRIAN: (PAVEMENT, PAVEMENT, PAVEMENT, ROAD), BICYCLIST: (ROAD,)}
"""Surfaces that objects stand on, each entry equally likely."""

SHARES = {CAR: 0.45, PEDESTRIAN: 0.35, BICYCLIST: 0.2}
"""How often each class is pasted."""

COMPANY = 0.4
"""Chance that an object gets a neighbour of its class that touches or partly hides it."""

MIN_PASTED_HEIGHT = 14
"""Pixels. Farther away, objects are specks."""

MAX_ENLARGEMENT = 1.6
"""Cut-outs enlarged more would be blurred, and the network would learn to see the blur."""

ATTEMPTS = 6
"""Cut-outs tried for a place before the place is given up."""

SPOTS = 3
"""Places tried for each object that is wanted."""

Draw = Callable[[int, np.random.Generator], Cutout]
"""Gives a random cut-out of a class."""


@dataclass(frozen=True)
class Placement:
    """An object and where it goes."""

    cutout: Cutout
    left: int
    bottom: int
    """First row below the object."""

    size: tuple[int, int]
    """Width and height in pixels of the frame."""

    mirrored: bool


NEAR_SHARES = {PEDESTRIAN: 0.6, CAR: 0.25, BICYCLIST: 0.15}
NEAR_HEIGHT = (0.5, 1.1)
"""Height of an object before the camera, in heights of the frame."""
NEAR_HIDDEN = (0.1, 0.5)
"""Share of its height that lies below the frame."""


def paste_near(scene: Scene, draw: Draw, random: np.random.Generator) -> Scene:
    """Paste one large object right before the camera, cut by the lower border of the frame.

    Perspective says little about it: the camera may hang high or stand low.

    Args:
        scene: stays as it is.
        draw: where objects come from.
        random: decides everything.
    """
    classes, shares = list(NEAR_SHARES), np.array(list(NEAR_SHARES.values()))
    cutout = draw(int(random.choice(classes, p=shares / shares.sum())), random)
    rows, columns = scene.regions.shape
    height = round(rows * random.uniform(*NEAR_HEIGHT))
    if height > MAX_ENLARGEMENT * cutout.picture.height:
        return scene
    width = max(2, round(cutout.picture.width * height / cutout.picture.height))
    mirrored = bool(random.random() < 0.5)
    left = int(random.integers(-width // 4, columns - 3 * width // 4 + 1))
    if cutout.cut:
        left = 0 if ("left" in cutout.cut) != mirrored else columns - width
    bottom = rows + round(height * random.uniform(*NEAR_HIDDEN))
    return _pasted(scene, [Placement(cutout, left, bottom, (width, height), mirrored)])


def compose(scene: Scene, draw: Draw, count: int, random: np.random.Generator) -> Scene:
    """Paste up to ``count`` objects into a scene; those without a fitting place are left out.

    The pasted objects are the last owners of the result. Any object of which too little is left
    on view (see :mod:`triptych.data.scene`) becomes ambiguous pixels.

    Args:
        scene: stays as it is.
        draw: where objects come from.
        count: how many to try.
        random: decides everything.
    """
    return _pasted(scene, plan(scene, draw, count, random))


def _pasted(scene: Scene, placements: Sequence[Placement]) -> Scene:
    """The scene with the objects in their places; who is hidden too much becomes ambiguous."""
    if not placements:
        return scene
    whole = scene.visible()
    bottoms = _bottoms(scene)
    pixels, regions = scene.pixels.copy(), scene.regions.copy()
    owners = list(scene.owners)
    for placement in sorted(placements, key=lambda p: p.bottom):  # far ones first
        code = scene.classes + len(owners)
        if code >= IGNORE:
            break
        owners.append(placement.cutout.class_id)
        whole[code] = _paste(pixels, regions, code, placement, bottoms)
    result = Scene(pixels, regions, tuple(owners), scene.classes)
    seen = result.visible()
    lost = (seen < MIN_VISIBLE) | (seen < MIN_SHARE * whole)
    lost[: scene.classes] = lost[scene.classes + len(owners) :] = False
    return hide(result, lost) if lost.any() else result


def horizon(regions: Regions) -> float | None:
    """Row at which objects on the ground would have no height; None where there is no road."""
    enough = np.count_nonzero(regions == ROAD, axis=1) >= ROAD_PIXELS
    return float(enough.argmax()) - HORIZON_ABOVE_ROAD if enough.any() else None


def plan(scene: Scene, draw: Draw, count: int, random: np.random.Generator) -> list[Placement]:
    """Choose objects and places for them, ``count`` at most."""
    level = horizon(scene.regions)
    placements: list[Placement] = []
    if level is None:
        return placements
    classes, shares = list(SHARES), np.array(list(SHARES.values()))
    for _ in range(SPOTS * count):
        if len(placements) >= count:
            break
        class_id = int(random.choice(classes, p=shares / shares.sum()))
        spot = _spot(scene.regions, class_id, level, random)
        if spot is None:
            continue
        placement = _place(scene, draw, class_id, spot, level, random)
        if placement is None:
            continue
        placements.append(placement)
        while len(placements) < count and random.random() < COMPANY:
            step = int(random.choice((-1, 1)) * placement.size[0] * random.uniform(0.35, 1.0))
            middle = placement.left + placement.size[0] // 2 + step
            depth = int(random.integers(-1, 2) * random.uniform(0, 0.15) * placement.size[1])
            beside = (placement.bottom + depth, middle)
            neighbour = _place(scene, draw, class_id, beside, level, random)
            if neighbour is None:
                break
            placements.append(neighbour)
            placement = neighbour
    return placements


def _spot(
    regions: Regions, class_id: int, level: float, random: np.random.Generator
) -> tuple[int, int] | None:
    """A row and column of the ground. Rows come first: else near, wide ground would win always."""
    surface = GROUND[class_id][int(random.integers(len(GROUND[class_id])))]
    ground = regions == surface
    rows = np.flatnonzero(np.count_nonzero(ground, axis=1) >= ROAD_PIXELS)
    rows = rows[rows >= level + MIN_PASTED_HEIGHT / SLOPE[class_id]]
    if not len(rows):
        return None
    # Uniform in the root of the distance from the horizon: between as many objects per row, which
    # makes nearly all large, and perspective's own share, which makes nearly all tiny.
    roots = np.sqrt(rows - level)
    row = rows[int(np.searchsorted(roots, random.uniform(roots[0], roots[-1])))]
    return int(row), int(random.choice(np.flatnonzero(ground[row])))


def _place(
    scene: Scene,
    draw: Draw,
    class_id: int,
    spot: tuple[int, int],
    level: float,
    random: np.random.Generator,
) -> Placement | None:
    """Find an object that fits at ``spot``, the (row, column) of the middle of its lower edge."""
    row, column = spot
    frame_height, frame_width = scene.regions.shape
    for _ in range(ATTEMPTS):
        cutout = draw(class_id, random)
        expected = SLOPE[class_id] * (row + 1 - level) * cutout.tallness
        height = round(expected * np.exp(random.normal(0, SPREAD)))
        enlargement = height / cutout.picture.height
        if not MIN_PASTED_HEIGHT <= height <= 1.2 * frame_height:
            continue
        if enlargement > MAX_ENLARGEMENT:
            continue
        width = max(2, round(cutout.picture.width * enlargement))
        mirrored = bool(random.random() < 0.5)
        left = column - width // 2
        if cutout.cut:
            at_left = ("left" in cutout.cut) != mirrored
            left = 0 if at_left else frame_width - width
        return Placement(cutout, left, min(row + 1, frame_height), (width, height), mirrored)
    return None


def _bottoms(scene: Scene) -> NDArray[np.int64]:
    """Row below the lowest pixel of each single object, by region code; 0 for all else."""
    bottoms = np.zeros(256, np.int64)
    for code in range(scene.classes, scene.classes + len(scene.owners)):
        rows = np.flatnonzero((scene.regions == code).any(axis=1))
        bottoms[code] = rows[-1] + 1 if len(rows) else 0
    return bottoms


def _paste(
    pixels: Pixels,
    regions: Regions,
    code: int,
    placement: Placement,
    bottoms: NDArray[np.int64],
) -> int:
    """Draw one object in place, behind the single objects that stand nearer.

    Returns:
        Its area within the frame, hidden parts included.
    """
    width, height = placement.size
    picture = placement.cutout.picture.resize((width, height), Image.Resampling.BILINEAR)
    if placement.mirrored:
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    drawn = np.asarray(picture)
    rows, columns = regions.shape
    top, left = placement.bottom - height, placement.left
    y0, x0 = max(top, 0), max(left, 0)
    y1, x1 = min(placement.bottom, rows), min(left + width, columns)
    if y0 >= y1 or x0 >= x1:
        return 0
    there = (slice(y0, y1), slice(x0, x1))
    drawn = drawn[y0 - top : y1 - top, x0 - left : x1 - left]
    behind = bottoms[regions[there]] > placement.bottom
    alpha = drawn[..., 3].astype(np.float32) / 255
    whole = int(np.count_nonzero(alpha >= 0.5))
    alpha[behind] = 0
    background = pixels[there].astype(np.float32)
    lit = match_light(drawn[..., :3].astype(np.float32), drawn[..., 3] >= 128, background)
    pixels[there] = background + (lit - background) * alpha[..., None] + 0.5
    regions[there][alpha >= 0.5] = code
    return whole


def match_light(
    pixels: NDArray[np.float32], inside: NDArray[np.bool_], background: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Move an object's brightness and contrast halfway to those of the place it is put.

    Args:
        pixels: ``(h, w, 3)`` of the object, 0 to 255.
        inside: ``(h, w)``, where the object is.
        background: ``(h, w, 3)`` of the frame at that place.
    """
    if not inside.any():
        return pixels
    mine, theirs = pixels[inside], background.reshape(-1, 3)
    mine, theirs = (values[:: 1 + len(values) // 2000] for values in (mine, theirs))
    # The 10 keeps the quotient tame for even surfaces.
    contrast = np.sqrt((theirs.std() + 10) / (mine.std() + 10)).clip(0.5, 1.4)
    middle = mine.mean(dtype=np.float64)
    moved = (pixels - middle) * contrast + (middle + theirs.mean(dtype=np.float64)) / 2
    return np.clip(moved, 0, 255).astype(np.float32)
