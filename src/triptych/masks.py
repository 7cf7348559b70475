"""The one type that crosses every layer: a set of masks, read three ways.

Letters: ``N`` queries, ``K`` classes, ``h w`` the network's coarse grid, ``H W`` the image.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from triptych.colours import Colour, default_colours
from triptych.errors import TriptychError
from triptych.readings.settings import ReadingSettings

if TYPE_CHECKING:
    from PIL import Image

    from triptych.image.preprocess import ImageLike
    from triptych.readings.explain import Explanation
    from triptych.readings.instance import Instances
    from triptych.readings.panoptic import PanopticMap
    from triptych.readings.semantic import SemanticMap

READINGS = ("semantic", "instances", "panoptic")
"""What a mask set can be read as, if it has classes."""


@dataclass(frozen=True)
class Classes:
    """Names, thing/stuff flags and colours of the ``K`` classes, in the order of their ids.

    Raises:
        TriptychError: the three tuples differ in length, a name is empty or appears twice, or a
            colour is not three whole numbers from 0 to 255.
    """

    names: tuple[str, ...]
    is_thing: tuple[bool, ...]
    """True for countable objects (car), False for stuff (road)."""
    colours: tuple[Colour, ...]
    """Red, green, blue, 0 to 255."""

    def __post_init__(self) -> None:
        if not self.names:
            raise TriptychError("classes: the list is empty; name at least one class")
        if not len(self.names) == len(self.is_thing) == len(self.colours):
            raise TriptychError(
                f"classes: {len(self.names)} names, {len(self.is_thing)} thing flags and "
                f"{len(self.colours)} colours; give one of each for every class"
            )
        for name in self.names:
            if not isinstance(name, str) or not name:
                raise TriptychError(f"classes: {name!r} is no class name; use non-empty text")
            if self.names.count(name) > 1:
                raise TriptychError(f"classes: {name!r} appears twice; names must differ")
        for name, colour in zip(self.names, self.colours, strict=True):
            if len(colour) != 3 or not all(type(v) is int and 0 <= v <= 255 for v in colour):
                raise TriptychError(
                    f"classes: colour {colour!r} of {name!r} is not three whole numbers 0 to 255"
                )

    def __len__(self) -> int:
        return len(self.names)

    @property
    def thing_ids(self) -> tuple[int, ...]:
        """Ids of the countable classes."""
        return tuple(i for i, thing in enumerate(self.is_thing) if thing)

    @property
    def stuff_ids(self) -> tuple[int, ...]:
        """Ids of the uncountable classes."""
        return tuple(i for i, thing in enumerate(self.is_thing) if not thing)

    def index(self, name: str) -> int:
        """The id of the class called ``name``.

        Raises:
            TriptychError: there is no such class.
        """
        if name not in self.names:
            raise TriptychError(f"no class {name!r}; there are: {', '.join(self.names)}")
        return self.names.index(name)

    def to_list(self) -> list[dict[str, Any]]:
        """Plain data for a JSON or YAML file; :meth:`from_list` reads it back."""
        return [
            {"name": name, "thing": thing, "colour": list(colour)}
            for name, thing, colour in zip(self.names, self.is_thing, self.colours, strict=True)
        ]

    @classmethod
    def from_list(cls, entries: Sequence[Mapping[str, Any]]) -> Classes:
        """Read what :meth:`to_list` wrote; a missing ``colour`` gets its default.

        Raises:
            TriptychError: an entry is not of the form ``{"name", "thing", "colour"}``.
        """
        try:
            names = tuple(entry["name"] for entry in entries)
            things = tuple(entry["thing"] for entry in entries)
            given = tuple(entry.get("colour") for entry in entries)
            if not all(isinstance(thing, bool) for thing in things):
                raise TypeError("'thing' must be true or false")
            fallback = default_colours(map(str, names))
            colours = tuple(
                spare if colour is None else tuple(colour)
                for colour, spare in zip(given, fallback, strict=True)
            )
        except (AttributeError, KeyError, TypeError) as error:
            raise TriptychError(
                f"classes: an entry is not {{name, thing, colour}} ({error}); mend the list"
            ) from error
        return cls(names, things, colours)

    @classmethod
    def of(cls, names: Iterable[str], things: Iterable[str] = ()) -> Classes:
        """Classes called ``names`` with default colours; those also in ``things`` are countable.

        Raises:
            TriptychError: ``things`` names a class that ``names`` does not.
        """
        names, things = tuple(names), tuple(things)
        unknown = [thing for thing in things if thing not in names]
        if unknown:
            raise TriptychError(f"things name {unknown[0]!r}, which is not among the classes")
        return cls(names, tuple(name in things for name in names), default_colours(names))


@dataclass(frozen=True)
class Geometry:
    """How the coarse grid lies in the original image. All sizes are (height, width) in pixels.

    Raises:
        TriptychError: a size is not positive, or the valid part exceeds the input.
    """

    input_size: tuple[int, int]
    """What the network saw, padding included; the coarse grid covers exactly this."""
    valid_size: tuple[int, int]
    """The unpadded part of the input, at its top left."""
    image_size: tuple[int, int]
    """The original upright image, ``(H, W)``."""

    def __post_init__(self) -> None:
        for name, size in dataclasses.asdict(self).items():
            if len(size) != 2 or min(size) < 1:
                raise TriptychError(f"geometry: {name} {size} is not a positive (height, width)")
        if any(v > n for v, n in zip(self.valid_size, self.input_size, strict=True)):
            raise TriptychError(
                f"geometry: valid_size {self.valid_size} exceeds input_size {self.input_size}"
            )


@dataclass(frozen=True, eq=False, repr=False)
class MaskSet:
    """What a network says about one image: ``N`` masks, each with a class. Never modified.

    Three kinds of network fit:

    - *queries* (Mask2Former): independent masks with class logits;
    - *pixel labellers* (SegFormer): ``competition="softmax"``, ``N = K``, query ``i`` is class
      ``i``, no class logits; the masks compete for each pixel by softmax over ``N``;
    - *promptable* (Segment Anything): independent masks of one class with ``quality`` in place
      of class logits; they offer instances alone.

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
    """``(N,)`` float in 0..1, the network's own estimate of each mask; promptable only."""
    competition: Literal["independent", "softmax"] = "independent"
    readings: ReadingSettings = field(default_factory=ReadingSettings)
    """The checkpoint's own settings: what the readings use unless they are told otherwise."""

    def __post_init__(self) -> None:
        if self.mask_logits.ndim != 3 or 0 in self.mask_logits.shape:
            raise TriptychError(
                f"mask_logits have shape {tuple(self.mask_logits.shape)}; expected (N, h, w)"
            )
        queries, columns = len(self.mask_logits), len(self.classes) + 1
        if self.competition == "softmax":
            fits = self.class_logits is None and self.quality is None and queries == columns - 1
            wanted = f"{columns - 1} masks, no class_logits and no quality (a pixel labeller)"
        elif self.competition != "independent":
            fits, wanted = False, "competition 'independent' or 'softmax'"
        elif self.class_logits is not None:
            fits = tuple(self.class_logits.shape) == (queries, columns) and self.quality is None
            wanted = f"class_logits of shape ({queries}, {columns}) and no quality"
        else:
            fits = (
                self.quality is not None
                and tuple(self.quality.shape) == (queries,)
                and columns == 2
            )
            wanted = f"class_logits, or quality of shape ({queries},) with a single class"
        if not fits:
            raise TriptychError(
                f"a mask set of {queries} {self.competition} masks and {columns - 1} classes "
                f"does not fit together; expected {wanted}"
            )

    def __repr__(self) -> str:
        queries, h, w = self.mask_logits.shape
        height, width = self.geometry.image_size
        return (
            f"MaskSet({queries} {self.competition} masks on {w}x{h} cells, "
            f"{len(self.classes)} classes, image {width}x{height})"
        )

    def __len__(self) -> int:
        """The number of queries, ``N``."""
        return len(self.mask_logits)

    def to(self, device: torch.device | str) -> MaskSet:
        """The same mask set with its tensors on ``device``."""

        def move(tensor: Tensor | None) -> Tensor | None:
            return None if tensor is None else tensor.to(device)

        return dataclasses.replace(
            self,
            mask_logits=self.mask_logits.to(device),
            class_logits=move(self.class_logits),
            quality=move(self.quality),
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

    def semantic(self) -> SemanticMap:
        """One class for every pixel; see :func:`triptych.readings.semantic.read_semantic`."""
        from triptych.readings.semantic import read_semantic

        return read_semantic(self)

    def instances(self, threshold: float | None = None, top: int | None = None) -> Instances:
        """Objects, best first; see :func:`triptych.readings.instance.read_instances`."""
        from triptych.readings.instance import read_instances

        return read_instances(self, threshold=threshold, top=top)

    def panoptic(self, threshold: float | None = None, overlap: float | None = None) -> PanopticMap:
        """Every pixel in one segment; see :func:`triptych.readings.panoptic.read_panoptic`."""
        from triptych.readings.panoptic import read_panoptic

        return read_panoptic(self, threshold=threshold, overlap=overlap)

    def explain(
        self,
        *,
        instance_threshold: float | None = None,
        top: int | None = None,
        panoptic_threshold: float | None = None,
        overlap: float | None = None,
    ) -> Explanation:
        """Which rule every query fell to; see :func:`triptych.readings.explain.explain`."""
        from triptych.readings.explain import explain

        return explain(
            self,
            instance_threshold=instance_threshold,
            top=top,
            panoptic_threshold=panoptic_threshold,
            overlap=overlap,
        )

    def overlay(self, image: ImageLike) -> Image.Image:
        """The readings that there are side by side over the image.

        See :func:`triptych.render.panels.panels`.

        Args:
            image: the picture this mask set was made from: anything that
                :func:`triptych.image.preprocess.load_image` accepts.
        """
        from triptych.image.preprocess import load_image
        from triptych.render.panels import panels

        semantic = self.semantic() if "semantic" in self.offers else None
        panoptic = self.panoptic() if "panoptic" in self.offers else None
        return panels(load_image(image), semantic, self.instances(), panoptic)
