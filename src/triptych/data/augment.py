"""Random views of a scene: scale, crop, mirror, light, blur. Nothing here keeps a random state."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from triptych.data.scene import Pixels, Scene
from triptych.errors import TriptychError
from triptych.truth import IGNORE, WIDE_IGNORE

CROP_ATTEMPTS = 4
MAX_SHARE = 0.75
"""A crop of which one class covers more than this is drawn again, a few times."""

PADDING = (124, 116, 104)
"""Colour of pixels beyond the image: the mean of ImageNet, near the zero of any normalisation."""


@dataclass(frozen=True)
class View:
    """Which part of a frame to look at, and how large.

    Raises:
        TriptychError: a number is out of its range.
    """

    crop: tuple[int, int] = (320, 416)
    """Height and width of the result."""

    scale: tuple[float, float] = (0.6, 2.0)
    """Least and greatest enlargement, drawn uniformly in the logarithm."""

    mirror: float = 0.5
    """Chance of a mirror image."""

    tilt: float = 0.0
    """Standard deviation, in degrees, of the turn of the camera up or down; half as much to the
    sides, a third as much about its axis. The view is what the turned camera would see."""

    def __post_init__(self) -> None:
        if len(self.crop) != 2 or min(self.crop) < 1:
            raise TriptychError(f"crop {self.crop}: give height and width in pixels")
        if len(self.scale) != 2 or not 0 < self.scale[0] <= self.scale[1]:
            raise TriptychError(f"scale {self.scale}: give the least and the greatest")
        if not 0 <= self.mirror <= 1:
            raise TriptychError(f"mirror {self.mirror}: a chance lies between 0 and 1")
        if not 0 <= self.tilt <= 30:
            raise TriptychError(f"tilt {self.tilt}: give degrees, 0 to 30")


@dataclass(frozen=True)
class Light:
    """Strength of photometric changes; 0 switches one off.

    Raises:
        TriptychError: a number is negative, or a chance above 1.
    """

    brightness: float = 0.35
    """Standard deviation of the logarithm of the gain. Generous: street cameras run at dusk."""

    contrast: float = 0.2
    """The same of the distance from the image's mean."""

    saturation: float = 0.3
    """The same of the distance from grey."""

    hue: float = 0.05
    """Standard deviation of the turn of the colour circle, in turns / 2 pi (radians)."""

    gamma: float = 0.3
    """Standard deviation of the logarithm of the exponent, in one image of three."""

    degrade: float = 0.2
    """Chance of blur, noise or JPEG damage."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value < 0 or (name == "degrade" and value > 1):
                raise TriptychError(f"light: {name} {value} is out of range; 0 switches it off")

    @classmethod
    def of(cls, strengths: Mapping[str, float]) -> Light:
        """These strengths, the others as usual.

        Raises:
            TriptychError: there is no such change, or a strength is out of range.
        """
        known = [field.name for field in dataclasses.fields(cls)]
        for name in strengths:
            if name not in known:
                raise TriptychError(f"light has no {name!r}; there are: {', '.join(known)}")
        return cls(**strengths)


@dataclass(frozen=True)
class ViewWindow:
    """Where a view looks: a box of the source, resized to a place in the crop, perhaps mirrored.

    Perhaps it is seen by a turned camera as well.
    """

    crop: tuple[int, int]
    """Height and width of the result."""
    box: tuple[float, float, float, float]
    """Left, top, right and bottom in the source."""
    size: tuple[int, int]
    """Height and width to which the box is resized."""
    place: tuple[int, int]
    """Row and column of the crop where its corner lies."""
    mirror: bool
    turned: tuple[float, ...] | None = None
    """The eight coefficients of Pillow's ``PERSPECTIVE``, from the result to the crop."""
    _rows_and_columns: tuple[tuple[int, int], NDArray[np.intp], NDArray[np.intp]] | None = field(
        default=None, init=False, repr=False, compare=False
    )

    def look(
        self, plane: NDArray[Any], how: Image.Resampling, fill: int | tuple[int, int, int]
    ) -> NDArray[Any]:
        """What is seen of one plane ``(H, W)`` of uint8 or int32, or of RGB ``(H, W, 3)``.

        Args:
            plane: any that lies over the source.
            how: nearest for labels.
            fill: what lies beyond the source.
        """
        rows, columns = self.size
        seen = Image.fromarray(plane).resize((columns, rows), how, box=self.box)
        if self.mirror:
            seen = seen.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        if self.size != self.crop:
            whole = Image.new(seen.mode, (self.crop[1], self.crop[0]), fill)
            whole.paste(seen, (self.place[1], self.place[0]))
            seen = whole
        if self.turned is not None:
            seen = seen.transform(
                seen.size, Image.Transform.PERSPECTIVE, self.turned, how, fillcolor=fill
            )
        return np.array(seen)

    def padding(self) -> NDArray[np.bool_] | None:
        """``(h, w)``: what lies beyond the source; None where nothing does."""
        if self.size == self.crop and self.turned is None:
            return None
        source = np.zeros(self.size, np.uint8)
        whole = replace(self, box=(0, 0, self.size[1], self.size[0]))
        beyond: NDArray[np.bool_] = whole.look(source, Image.Resampling.NEAREST, 1) > 0
        return beyond

    def nearest(self, plane: NDArray[Any], fill: int) -> NDArray[Any]:
        """:meth:`look` of labels of any type, by the nearest pixel."""
        height, width = plane.shape
        rows, columns = self._taken((height, width))
        return self._placed(plane[rows[:, None], columns], fill)

    def nearest_cut(
        self, cut: NDArray[Any], where: tuple[slice, slice], source: tuple[int, int]
    ) -> NDArray[np.bool_] | None:
        """:meth:`nearest` of a mask of which only the part in a box is there.

        Args:
            cut: that part.
            where: rows and columns of the box in the source.
            source: height and width of the source.

        Returns:
            What is seen ``(h, w)``; None if that is nothing.
        """
        inside = []
        for taken, span in zip(self._taken(source), where, strict=True):
            seen = np.flatnonzero((taken >= span.start) & (taken < span.stop))
            if not len(seen):
                return None
            inside.append((seen, taken[seen] - span.start))
        (rows, from_rows), (columns, from_columns) = inside
        part = cut[from_rows[:, None], from_columns]
        if not part.any():
            return None
        whole = np.zeros(self.size, bool)
        whole[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = part
        return self._placed(whole, 0)

    def _taken(self, source: tuple[int, int]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Which rows and columns of the source are seen, in order: those that Pillow takes."""
        if self._rows_and_columns is None or self._rows_and_columns[0] != source:
            left, top, right, bottom = self.box
            height, width = source
            nearest = Image.Resampling.NEAREST
            down = Image.fromarray(np.arange(height, dtype=np.int32)[:, None])
            along = Image.fromarray(np.arange(width, dtype=np.int32)[None])
            rows = np.array(down.resize((1, self.size[0]), nearest, (0, top, 1, bottom)))[:, 0]
            columns = np.array(along.resize((self.size[1], 1), nearest, (left, 0, right, 1)))[0]
            if self.mirror:
                columns = columns[::-1]
            object.__setattr__(self, "_rows_and_columns", (source, rows, columns))
        assert self._rows_and_columns is not None
        return self._rows_and_columns[1:]

    def _placed(self, seen: NDArray[Any], fill: int) -> NDArray[Any]:
        """What is seen in its place in the crop, by the turned camera where there is one."""
        if self.size != self.crop:
            whole = np.full(self.crop, fill, seen.dtype)
            top, left = self.place
            whole[top : top + self.size[0], left : left + self.size[1]] = seen
            seen = whole
        if self.turned is None:
            return seen
        image = Image.fromarray(seen.astype(np.int32))
        how, nearest = Image.Transform.PERSPECTIVE, Image.Resampling.NEAREST
        turned = image.transform(image.size, how, self.turned, nearest, fillcolor=int(fill))
        return np.array(turned).astype(seen.dtype)


def random_window(
    semantic: NDArray[np.integer],
    view: View,
    random: np.random.Generator,
    enlarge: tuple[float, float] = (1.0, 1.0),
) -> ViewWindow:
    """Draw scale, place and mirroring.

    Args:
        semantic: ``(H, W)`` class ids of the source; :data:`IGNORE`, or in 16 bits
            :data:`WIDE_IGNORE`, where unknown.
        view: what may be drawn.
        random: where it is drawn from.
        enlarge: of height and width, on top of the scale that is drawn.
    """
    source = semantic.shape
    unknown = WIDE_IGNORE if semantic.dtype == np.uint16 else IGNORE
    low, high = np.log(view.scale)
    scale = float(np.exp(random.uniform(low, high)))
    for _ in range(CROP_ATTEMPTS):
        spans = [
            _span(source[axis], view.crop[axis], scale * enlarge[axis], random) for axis in (0, 1)
        ]
        (y0, y1), (x0, x1) = (span[0] for span in spans)
        inside = semantic[int(y0) : int(np.ceil(y1)) : 4, int(x0) : int(np.ceil(x1)) : 4]
        counts = np.bincount(inside.ravel(), minlength=unknown + 1)[:unknown]
        if counts.max() <= MAX_SHARE * counts.sum():
            break
    (to_y, rows), (to_x, columns) = (span[1] for span in spans)
    mirror = bool(random.random() < view.mirror)
    turned = None
    if view.tilt:
        pitch, yaw, roll = np.radians(random.normal(0, view.tilt, 3)) * (1, 1 / 2, 1 / 3)
        turned = turned_camera(view.crop, pitch, yaw, roll)
    return ViewWindow(view.crop, (x0, y0, x1, y1), (rows, columns), (to_y, to_x), mirror, turned)


def turned_camera(
    size: tuple[int, int], pitch: float, yaw: float, roll: float
) -> tuple[float, ...]:
    """How a camera that turns about its centre sees a picture: from new pixels to old ones.

    Such a turn maps pictures by ``K R inv(K)`` whatever the scene (Hartley and Zisserman,
    "Multiple View Geometry", section 8.4). The focal length is the longer side, which is an angle
    of view of 53 degrees.

    Args:
        size: ``(h, w)`` of both pictures.
        pitch: turn downwards, in radians.
        yaw: turn to the right.
        roll: turn about the axis, clockwise.

    Returns:
        ``(a, b, c, d, e, f, g, h)``: the old pixel of ``(x, y)`` is ``(a x + b y + c) / s`` and
        ``(d x + e y + f) / s`` with ``s = g x + h y + 1``.
    """
    height, width = size
    focal = float(max(size))
    camera = np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]])

    def turn(axis: int, angle: float) -> NDArray[np.float64]:
        one, other = [i for i in range(3) if i != axis]
        matrix = np.eye(3)
        matrix[one, one] = matrix[other, other] = np.cos(angle)
        matrix[one, other], matrix[other, one] = -np.sin(angle), np.sin(angle)
        return matrix

    rotation = turn(1, -yaw) @ turn(0, -pitch) @ turn(2, roll)
    homography = camera @ rotation @ np.linalg.inv(camera)
    return tuple((homography / homography[2, 2]).ravel()[:8].tolist())


def random_view(scene: Scene, view: View, random: np.random.Generator) -> Scene:
    """Scale, crop and mirror a scene; pixels bilinearly, regions by the nearest.

    The part of the source that will be seen is resized in one step. Where the scaled frame is
    smaller than the crop, the rest is :data:`PADDING` with unknown label.
    """
    window = random_window(scene.semantic(), view, random)
    return Scene(
        window.look(scene.pixels, Image.Resampling.BILINEAR, PADDING),
        window.look(scene.regions, Image.Resampling.NEAREST, IGNORE),
        scene.owners,
        scene.classes,
        window.padding(),
    )


def _span(
    source: int, crop: int, scale: float, random: np.random.Generator
) -> tuple[tuple[float, float], tuple[int, int]]:
    """Along one axis: the interval of the source to look at, and (offset, length) in the crop."""
    scaled = max(1, round(source * scale))
    if scaled <= crop:
        return (0.0, float(source)), (int(random.integers(crop - scaled + 1)), scaled)
    start = int(random.integers(scaled - crop + 1))
    step = source / scaled
    return (start * step, min((start + crop) * step, source)), (0, crop)


def random_light(pixels: Pixels, light: Light, random: np.random.Generator) -> Pixels:
    """Change brightness, contrast, saturation and hue, sometimes gamma and sharpness.

    The first four are one linear map of the colours, which Pillow applies in one pass.
    """
    gain = float(np.exp(random.normal(0, light.brightness)))
    contrast = float(np.exp(random.normal(0, light.contrast)))
    saturation = float(np.exp(random.normal(0, light.saturation)))
    turn = float(random.normal(0, light.hue))
    picture = Image.fromarray(pixels)
    mean = gain * float(pixels[::8, ::8].mean())
    matrix = gain * contrast * colour_matrix(saturation, turn)
    offset = np.full((3, 1), (1 - contrast) * mean)
    picture = picture.convert("RGB", tuple(np.hstack([matrix, offset]).ravel().tolist()))
    if light.gamma and random.random() < 1 / 3:
        exponent = float(np.exp(random.normal(0, light.gamma)))
        table = (255 * (np.arange(256) / 255) ** exponent).round().astype(int).tolist()
        picture = picture.point(table * 3)
    if random.random() < light.degrade:
        picture = _degrade(picture, random)
    return np.array(picture)


def colour_matrix(saturation: float, turn: float) -> NDArray[np.float64]:
    """``(3, 3)`` map of RGB: colours ``saturation`` times as far from grey, turned by ``turn``.

    Greys stay; the turn (radians) is about the grey axis.
    """
    luma = np.tile([0.299, 0.587, 0.114], (3, 1))
    third = 1 / 3
    cosine, sine = np.cos(turn), np.sin(turn) * np.sqrt(third)
    cross = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]])
    rotation = cosine * np.eye(3) + (1 - cosine) * third + sine * cross
    result: NDArray[np.float64] = rotation @ (luma + saturation * (np.eye(3) - luma))
    return result


def _degrade(picture: Image.Image, random: np.random.Generator) -> Image.Image:
    """Blur, noise or JPEG damage, one of the three."""
    kind = int(random.integers(3))
    if kind == 0:
        return picture.filter(ImageFilter.GaussianBlur(float(random.uniform(0.4, 1.4))))
    if kind == 1:
        strength = int(random.integers(3, 14))
        noise = random.integers(
            -strength, strength + 1, (picture.height, picture.width, 3), np.int16
        )
        return Image.fromarray((np.asarray(picture) + noise).clip(0, 255).astype(np.uint8))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=int(random.integers(25, 75)))
    return Image.open(buffer)
