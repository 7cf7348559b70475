"""Frames as a player shows them: turned, mirrored, with square pixels."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from triptych.errors import TriptychError
from triptych.stream.media import video_pictures
from triptych.stream.sources import local
from triptych.stream.upright import shown_width, turned

av = pytest.importorskip("av")


def film(path: Path, size: tuple[int, int], **settings: object) -> Path:
    """A bright square at the upper left of a dark picture."""
    pixels = np.zeros((*size, 3), np.uint8)
    pixels[: size[0] // 2, : size[1] // 2] = 250
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.height, stream.width = size
        stream.pix_fmt = "yuv420p"
        if aspect := settings.get("aspect"):
            stream.codec_context.sample_aspect_ratio = aspect
        if "turn" in settings:
            stream.set_display_rotation(settings["turn"])
        if "matrix" in settings:
            stream.set_display_matrix(settings["matrix"])
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, "rgb24")))
        container.mux(stream.encode())
    return path


def seen(path: Path) -> tuple[tuple[int, ...], str]:
    """Size of the pictures, and the corner in which the square is."""
    picture = next(iter(video_pictures(local(path), path.name))).pixels
    assert picture is not None
    assert picture.flags.c_contiguous
    height, width = picture.shape[:2]
    corners = {
        "upper left": picture[height // 4, width // 4],
        "upper right": picture[height // 4, 3 * width // 4],
        "lower left": picture[3 * height // 4, width // 4],
        "lower right": picture[3 * height // 4, 3 * width // 4],
    }
    (corner,) = [name for name, colour in corners.items() if colour.mean() > 125]
    return (height, width), corner


@pytest.mark.parametrize(
    ("aspect", "size"),
    [
        (Fraction(2, 1), (96, 128)),
        (Fraction(1, 2), (96, 32)),
        (Fraction(16, 15), (96, 68)),
        (Fraction(1, 1), (96, 64)),
        (None, (96, 64)),
    ],
)
def test_pixels_become_square(aspect: Fraction | None, size: tuple[int, int], tmp_path: Path):
    assert seen(film(tmp_path / "a.mp4", (96, 64), aspect=aspect)) == (size, "upper left")


def test_odd_aspects_are_mistakes_of_the_file() -> None:
    assert shown_width(64, Fraction(1, 100)) == 64
    assert shown_width(64, Fraction(0, 1)) == 64
    assert shown_width(3, Fraction(1, 8)) == 1


@pytest.mark.parametrize(
    ("turn", "corner"),
    [(0, "upper left"), (90, "lower left"), (180, "lower right"), (270, "upper right")],
)
def test_turned_and_not_square(turn: int, corner: str, tmp_path: Path) -> None:
    """The aspect belongs to the stored picture, which is turned after it is stretched."""
    path = film(tmp_path / "a.mov", (96, 64), aspect=Fraction(2, 1), turn=turn)
    size = (96, 128) if turn % 180 == 0 else (128, 96)
    assert seen(path) == (size, corner)


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("quarters", range(4))
def test_every_matrix(quarters: int, mirrored: bool) -> None:
    """Against the definition: where each pixel's centre lands."""
    pixels = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    angle = np.array([[1, 0], [0, 1]])
    for _ in range(quarters):
        angle = np.array([[0, -1], [1, 0]]) @ angle
    if mirrored:
        angle = angle @ np.array([[-1, 0], [0, 1]])
    (a, c), (b, d) = (65536 * angle).tolist()
    found = turned(pixels, struct.pack("<9i", a, b, 0, c, d, 0, 0, 0, 1 << 30))
    places = {(y, x): angle @ np.array([x + 0.5, y + 0.5]) for y in range(2) for x in range(3)}
    least = np.min(list(places.values()), axis=0) - 0.5
    expected = np.zeros_like(found)
    for (y, x), place in places.items():
        column, row = np.round(place - least - 0.5).astype(int)
        expected[row, column] = pixels[y, x]
    assert np.array_equal(found, expected)
    assert turned(pixels, None) is pixels


def with_cover(path: Path, video: bool) -> Path:
    """A cover before a video of five frames, or beside nothing."""
    with av.open(str(path), "w") as container:
        cover = container.add_stream("mjpeg" if path.suffix == ".mkv" else "png", rate=1)
        cover.width = cover.height = 32
        cover.pix_fmt = "yuvj420p" if path.suffix == ".mkv" else "rgb24"
        cover.disposition = av.stream.Disposition.attached_pic
        counts = {cover: 1}
        if video:
            stream = container.add_stream("mpeg4", rate=10)
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
            counts[stream] = 5
        for one, count in counts.items():
            for _ in range(count):
                frame = np.zeros((one.height, one.width, 3), np.uint8)
                container.mux(one.encode(av.VideoFrame.from_ndarray(frame, "rgb24")))
            container.mux(one.encode())
    return path


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_a_cover_picture_is_not_the_video(suffix: str, tmp_path: Path) -> None:
    path = with_cover(tmp_path / f"a{suffix}", video=True)
    with av.open(str(path)) as opened:
        assert len(opened.streams.video) == 2
        assert opened.streams.video[0].width == (32 if suffix == ".mkv" else 64)
    pictures = list(video_pictures(local(path), path.name))
    assert [p.pixels.shape for p in pictures if p.pixels is not None] == [(48, 64, 3)] * 5


def test_a_cover_alone_is_no_video(tmp_path: Path) -> None:
    path = with_cover(tmp_path / "a.mp4", video=False)
    with pytest.raises(TriptychError, match=r"a\.mp4: holds no video"):
        list(video_pictures(local(path), path.name))
