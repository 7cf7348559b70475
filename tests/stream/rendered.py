"""Streams whose truth is known: coloured boxes that move, and a network that sees them exactly."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from triptych.classes import Classes
from triptych.image.geometry import Geometry
from triptych.mask_set import MaskSet
from triptych.readings.instance import Instance
from triptych.readings.settings import ReadingSettings
from triptych.stream.frames import Frame
from triptych.stream.reader import Picture

CLASSES = Classes.of(["ground", "wall", "car", "person"], things=["car", "person"])
SIZE = (48, 96)
FPS = 10.0


@dataclass(frozen=True)
class Thing:
    """A box that moves evenly: it is drawn over what comes before it in the world."""

    number: int
    name: str
    start: tuple[float, float]  # centre (x, y) at time 0, pixels
    velocity: tuple[float, float]  # pixels a second
    size: tuple[int, int]  # width, height
    born: float = 0.0  # seconds
    dies: float = 1e9

    def window(self, moment: float) -> tuple[slice, slice]:
        """Rows and columns that it covers."""
        x, y = (at + v * moment for at, v in zip(self.start, self.velocity, strict=True))
        left, top = round(x - self.size[0] / 2), round(y - self.size[1] / 2)
        return (
            slice(max(top, 0), max(top + self.size[1], 0)),
            slice(max(left, 0), max(left + self.size[0], 0)),
        )


@dataclass(frozen=True)
class Wall:
    """Hides what is behind it: ``(x0, y0, x1, y1)``."""

    box: tuple[int, int, int, int]


@dataclass(frozen=True)
class World:
    """What moves, far to near, and the walls before it."""

    things: tuple[Thing, ...]
    walls: tuple[Wall, ...] = ()
    size: tuple[int, int] = SIZE

    def numbers(self, moment: float) -> np.ndarray:
        """``(H, W)``: the number of the thing that is seen at every pixel, 0 ground, 255 wall."""
        picture = np.zeros(self.size, np.uint8)
        for thing in self.things:
            if thing.born <= moment < thing.dies:
                picture[thing.window(moment)] = thing.number
        for wall in self.walls:
            x0, y0, x1, y1 = wall.box
            picture[y0:y1, x0:x1] = 255
        return picture

    def pixels(self, moment: float) -> np.ndarray:
        """``(H, W, 3)``: red is the number, green the class."""
        numbers = self.numbers(moment)
        table = np.zeros(256, np.uint8)
        table[255] = CLASSES.index("wall")
        for thing in self.things:
            table[thing.number] = CLASSES.index(thing.name)
        return np.stack([numbers, table[numbers], np.zeros_like(numbers)], axis=2)

    def truth(self, moment: float) -> dict[int, np.ndarray]:
        """The visible part of each thing that is seen at all, by its number."""
        numbers = self.numbers(moment)
        return {
            thing.number: numbers == thing.number
            for thing in self.things
            if (numbers == thing.number).any()
        }

    def frames(self, seconds: float, fps: float = FPS) -> Iterator[Frame]:
        for index in range(round(seconds * fps)):
            yield Frame(self.pixels(index / fps), index, 1000 + index / fps, index / fps)

    def pictures(self, seconds: float, fps: float = FPS) -> Iterator[Picture]:
        for frame in self.frames(seconds, fps):
            yield Picture(frame.pixels, frame.media_time)


def instances(
    world: World,
    moment: float,
    random: np.random.Generator,
    misses: float = 0.0,
    wobble: int = 0,
    doubts: float = 0.0,
    tremble: float = 0.0,
    merges: float = 0.0,
    splits: float = 0.0,
) -> list[Instance]:
    """What a network would find: the truth in random order, or nearly the truth.

    ``street`` on ``junction.mp4`` is the model of the last three: from one frame to the next the
    lower edge of an outline moves by 7 % of the object's size in a quarter of all cases, and by
    half of it or more in a tenth, where masks merge and split.

    Args:
        misses: share of the things that are overlooked.
        wobble: pixels by which a mask is off, at most, each way.
        doubts: share of the things that it is less sure of: their score is 0.3 and not 0.9.
        tremble: each edge of a mask is off by up to this share of its size.
        merges: share of the things that are one mask with the next of their class, if they touch.
        splits: share of the things that are two masks.
    """
    names = {thing.number: thing.name for thing in world.things}
    found = []
    for name, mask in _merged(
        [(names[number], mask) for number, mask in world.truth(moment).items()], random, merges
    ):
        seen = shifted(mask, *random.integers(-wobble, wobble + 1, 2))
        if random.random() < misses or not seen.any():
            continue
        if tremble:
            seen = trembled(seen, random, tremble)
        score = 0.3 if doubts and random.random() < doubts else 0.9
        for part in halves(seen) if splits and random.random() < splits else [seen]:
            found.append(
                Instance(torch.from_numpy(part), CLASSES.index(name), name, score, box_of(part))
            )
    return [found[place] for place in random.permutation(len(found))]


def box_of(mask: np.ndarray) -> tuple[float, float, float, float]:
    """Round what is True; there is something."""
    ys, xs = np.nonzero(mask)
    return float(xs.min()), float(ys.min()), float(xs.max() + 1), float(ys.max() + 1)


def _merged(
    things: list[tuple[str, np.ndarray]], random: np.random.Generator, share: float
) -> list[tuple[str, np.ndarray]]:
    """Some of the things are one with another of their class that is a pixel away at most."""
    left, found = list(things), []
    while left:
        name, mask = left.pop(0)
        if share and random.random() < share:
            wide = np.logical_or.reduce(
                [shifted(mask, y, x) for y in (-1, 0, 1) for x in (-1, 0, 1)]
            )
            for place, (other, its) in enumerate(left):
                if other == name and (wide & its).any():
                    mask = mask | left.pop(place)[1]
                    break
        found.append((name, mask))
    return found


def trembled(mask: np.ndarray, random: np.random.Generator, share: float) -> np.ndarray:
    """The mask, stretched or squeezed a little on each side."""
    x0, y0, x1, y1 = (int(edge) for edge in box_of(mask))
    reach = share * math.sqrt((x1 - x0) * (y1 - y0))
    off = random.uniform(-reach, reach, 4)
    left, top, right, bottom = (
        round(edge + by) for edge, by in zip((x0, y0, x1, y1), off, strict=True)
    )
    right, bottom = max(right, left + 1), max(bottom, top + 1)
    rows = y0 + (np.arange(top, bottom) - top) * (y1 - y0) // (bottom - top)
    columns = x0 + (np.arange(left, right) - left) * (x1 - x0) // (right - left)
    height, width = mask.shape
    wide = np.zeros((3 * height, 3 * width), bool)
    wide[height + top : height + bottom, width + left : width + right] = mask[np.ix_(rows, columns)]
    seen = wide[height : 2 * height, width : 2 * width]
    return seen if seen.any() else mask


def halves(mask: np.ndarray) -> list[np.ndarray]:
    """A mask cut in two from top to bottom; one that is a pixel wide stays whole."""
    x0, _, x1, _ = (int(edge) for edge in box_of(mask))
    columns = np.arange(mask.shape[1]) < (x0 + x1) // 2
    parts = [mask & columns, mask & ~columns]
    return parts if all(part.any() for part in parts) else [mask]


def shifted(mask: np.ndarray, down: int, right: int) -> np.ndarray:
    """The mask moved by less than its size; what leaves the picture is lost."""
    height, width = mask.shape
    wide = np.zeros((3 * height, 3 * width), bool)
    wide[height + down : 2 * height + down, width + right : 2 * width + right] = mask
    return wide[height : 2 * height, width : 2 * width]


class ExactNetwork:
    """Gives each colour of a rendered picture as one query, in an order that tells nothing.

    Of people it is only 60 % sure.
    """

    classes = CLASSES
    readings = ReadingSettings()
    name = "exact"

    def __init__(self) -> None:
        self.random = np.random.default_rng(0)
        self.batches: list[int] = []

    def segment(self, images: Sequence[Tensor]) -> list[MaskSet]:
        self.batches.append(len(images))
        return [self._masks(image.numpy()) for image in images]

    def _masks(self, pixels: np.ndarray) -> MaskSet:
        colours = np.unique(pixels[..., :2].reshape(-1, 2), axis=0)
        masks, labels = [], []
        for number, label in self.random.permutation(colours):
            masks.append((pixels[..., 0] == number) & (pixels[..., 1] == label))
            labels.append(int(label))
        logits = torch.full((len(labels), len(CLASSES) + 1), -8.0)
        logits[torch.arange(len(labels)), torch.tensor(labels)] = 8.0
        people = torch.tensor(labels) == CLASSES.index("person")
        logits[people, CLASSES.index("person")] = math.log(0.6 / 0.4)
        logits[people, -1] = 0.0  # "no object"
        grid = 20.0 * torch.from_numpy(np.stack(masks)).float() - 10.0
        size = pixels.shape[0], pixels.shape[1]
        return MaskSet(grid, logits, CLASSES, Geometry(size, size, size))
