"""Pictures as other programs write them: what is odd about them is seen, and told."""

from __future__ import annotations

import struct
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from triptych.errors import TriptychError
from triptych.image.preprocess import load_image
from triptych.image.signatures import signature


def refusal(path: Path) -> str:
    with pytest.raises(TriptychError) as caught:
        load_image(path)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"{path}: ")
    return message


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "is a HEIC picture, which is not read; save it as"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "is a HEIC picture"),
        (b"\0\0\0\x18ftypavif\0\0\0\0 broken", "its beginning is damaged"),
        (b"\0\0\0\x18ftypcrx \0\0\0\x01", "is a RAW photo of Canon (CR3), which is not read; deve"),
        (b"\0\0\0\x20ftypisom\0\0\2\0", "is a video (MP4), not an image; give it to triptych pred"),
        (b"\x1aE\xdf\xa3\x01", "is a video (Matroska or WebM)"),
        (b"RIFF\0\0\0\0AVI LIST", "is a video (AVI)"),
        (b"\x47" + b"\0" * 187 + b"\x47" + b"\0" * 187 + b"\x47", "is a video (MPEG transport st"),
        (b"RIFF\0\0\0\0WEBPnonsense", "is damaged"),
        (b"%PDF-1.7\n", "is a PDF document, not an image; save its picture"),
        (b'<?xml version="1.0"?>\n<svg xmlns="x">', "is an SVG drawing, not an image"),
        (b"<svg>", "is an SVG drawing"),
        (b"8BPS\0\1" + b"\0" * 20, "is a Photoshop file (PSD), which is not read"),
        (b"\xff\x0a\0\0", "is a JPEG XL picture"),
        (b"\x76\x2f\x31\x01\2", "is an OpenEXR picture"),
        (b"\0" * 128 + b"DICM", "is a DICOM file, not an image"),
        (b"PK\x03\x04\x14", "is a zip archive, not an image; unpack it"),
        (b"<!DOCTYPE html><html>", "is a web page, not an image"),
        (b"version https://git-lfs.github.com/spec/v1\n", "is a git-lfs pointer, not the image"),
        (b"width,height\n1,2\n", "is a text file, not an image"),
        (b"FUJIFILMCCD-RAW 0201", "is a RAW photo of Fujifilm (RAF)"),
        (b"II*\0\x10\0\0\0CR\x02\0\0\0\0\0", "is a RAW photo of Canon (CR2)"),
        (b"\x01\x02\x03\xfe", "is not an image, or its beginning is damaged; known are JPEG, PNG"),
    ],
)
def test_other_files_are_named(content: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "x.jpg"
    path.write_bytes(content)
    assert words in refusal(path)


def test_a_signature_is_found_in_any_beginning() -> None:
    for length in range(40):
        signature(b"\0" * length)
        signature(b"\xff" * length)
        signature(b"ftyp" * length)


def tiff(path: Path, tags: dict[int, tuple[int, ...]], big: bool = False) -> Path:
    """A TIFF of 4 x 4 pixels, black, with further tags; one band of 8 bits without them."""
    width, count = ("Q", "Q") if big else ("I", "H")
    base = {256: (4,), 257: (4,), 258: (8,), 259: (1,), 262: (1,), 273: (0,), 277: (1,), 278: (4,)}
    whole = dict(sorted((base | tags).items()))
    start = 16 if big else 8
    size = struct.calcsize(f"<{count}") + len(whole) * (20 if big else 12) + struct.calcsize(width)
    beyond, table = b"", struct.pack(f"<{count}", len(whole))
    whole[273] = (start + size + 1024,)
    for tag, values in whole.items():
        packed = struct.pack(f"<{len(values)}I", *values)
        room = struct.calcsize(width)
        if len(packed) > room:
            place, beyond = start + size + len(beyond), beyond + packed
            packed = struct.pack(f"<{width}", place)
        table += struct.pack(f"<HH{width}", tag, 4, len(values)) + packed.ljust(room, b"\0")
    head = b"II+\0\x08\0\0\0" + struct.pack("<Q", start) if big else b"II*\0" + struct.pack("<I", 8)
    content = head + table + struct.pack(f"<{width}", 0) + beyond
    path.write_bytes(content.ljust(start + size + 1024, b"\0") + bytes(4096))
    return path


class TestTIFF:
    @pytest.mark.parametrize("big", [False, True])
    @pytest.mark.parametrize("bands", [5, 6, 8, 200])
    def test_many_bands(self, bands: int, big: bool, tmp_path: Path, caplog) -> None:
        path = tiff(tmp_path / "x.tif", {277: (bands,), 258: (8,) * bands}, big)
        assert f"has {bands} bands, and only 1 to 4 are read; choose red, green" in refusal(path)
        assert caplog.messages == []

    @pytest.mark.parametrize("big", [False, True])
    def test_one_to_four_bands_are_read(self, big: bool, tmp_path: Path) -> None:
        assert load_image(tiff(tmp_path / "x.tif", {}, big)).shape == (4, 4, 3)
        three = {277: (3,), 258: (8, 8, 8), 262: (2,)}
        assert load_image(tiff(tmp_path / "y.tif", three, big)).shape == (4, 4, 3)

    @pytest.mark.parametrize(
        ("name", "tags"), [("x.tif", {50706: (1,)}), ("x.tif", {254: (1,)}), ("x.NEF", {})]
    )
    def test_raw_photos(self, name: str, tags: dict[int, tuple[int, ...]], tmp_path: Path) -> None:
        assert "is a RAW photo, or begins with a small preview" in refusal(
            tiff(tmp_path / name, tags)
        )

    def test_types_that_pillow_does_not_know(self, tmp_path: Path) -> None:
        path = tiff(tmp_path / "x.tif", {258: (24,), 339: (3,)})
        told = "is a TIFF of 1 bands with 24 bits (floating-point numbers, compression 1), which"
        assert told in refusal(path)

    def test_a_directory_in_nowhere(self, tmp_path: Path) -> None:
        path = tmp_path / "x.tif"
        path.write_bytes(b"II*\0\xff\xff\xff\x7f")
        assert "damaged" in refusal(path)

    def test_infrared_as_transparency(self, tmp_path: Path, caplog) -> None:
        random = np.random.default_rng(0)
        bands = random.integers(0, 256, (30, 40, 4), dtype=np.uint8)
        Image.fromarray(bands).save(tmp_path / "x.tif")
        assert np.array_equal(load_image(tmp_path / "x.tif").numpy(), bands[..., :3])
        assert "fourth band is marked as transparency but varies like a picture" in caplog.text
        caplog.clear()
        # A real one: cut out with a soft edge, or all of it half clear.
        soft = bands.copy()
        soft[..., 3] = 255
        soft[:3, :, 3] = random.integers(0, 256, (3, 40))
        even = bands.copy()
        even[..., 3] = 128
        for alpha in (soft, even):
            Image.fromarray(alpha).save(tmp_path / "y.tif")
            assert not np.array_equal(load_image(tmp_path / "y.tif").numpy(), alpha[..., :3])
        Image.fromarray(bands).save(tmp_path / "z.png")  # nobody keeps infrared in a PNG
        assert not np.array_equal(load_image(tmp_path / "z.png").numpy(), bands[..., :3])
        assert caplog.messages == []


class TestDepth:
    @pytest.mark.parametrize("suffix", [".png", ".tif", ".pgm"])
    @pytest.mark.parametrize("bits", [8, 10, 12, 14])
    def test_fewer_bits_in_a_grey_file(self, bits: int, suffix: str, tmp_path: Path, caplog):
        white = (1 << bits) - 1
        values = np.linspace(0, white, 12).reshape(3, 4).astype(np.uint16)
        path = tmp_path / f"x{suffix}"
        Image.fromarray(values).save(path)
        expected = np.round(values * (255 / white))
        assert np.abs(load_image(path)[..., 0].numpy() - expected).max() <= 1
        (line,) = caplog.messages
        assert f"{path}: its 16-bit values reach only {white}, as of {bits} bits" in line
        assert np.array_equal(load_image(values).numpy(), load_image(path).numpy())

    @pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
    @pytest.mark.parametrize("alpha", [False, True])
    def test_fewer_bits_of_colours(self, bits: int, alpha: bool, tmp_path: Path, caplog) -> None:
        white = (1 << bits) - 1
        values = np.random.default_rng(0).integers(0, white + 1, (20, 30, 4)).astype(np.uint16)
        values[0, 0], values[..., 3] = white, 65535
        kind = "rgba64" if alpha else "rgb48"
        path = write_png(tmp_path / "x.png", values[..., : 4 if alpha else 3], kind)
        with Image.open(path) as picture:
            assert picture.mode == ("RGBA" if alpha else "RGB")
        expected = np.round(values[..., :3] * (255 / white))
        assert np.abs(load_image(path).numpy() - expected).max() <= 1
        assert len(caplog.messages) == (bits < 16)

    def test_colours_without_pyav(self, tmp_path: Path, caplog, monkeypatch) -> None:
        monkeypatch.setitem(__import__("sys").modules, "av", None)
        values = np.full((4, 4, 3), 4095, np.uint16)
        path = write_png(tmp_path / "x.png", values, "rgb48")
        assert load_image(path).float().mean() == 15
        assert "its colours of 16 bits have fewer" in caplog.text

    def test_full_depth_and_black_are_not_worth_a_word(self, tmp_path: Path, caplog) -> None:
        assert load_image(np.zeros((3, 4), np.uint16)).sum() == 0
        assert load_image(np.full((3, 4), 20000, np.uint16)).float().mean() == 78
        assert caplog.messages == []

    @pytest.mark.parametrize("values", [(-5, 100), (0, 70000)])
    def test_heights_and_counts(self, values: tuple[int, int], tmp_path: Path) -> None:
        Image.fromarray(np.array([values], np.int32)).save(tmp_path / "x.tif")
        assert f"holds values from {values[0]} to {values[1]}" in refusal(tmp_path / "x.tif")


def write_png(path: Path, values: np.ndarray, kind: str) -> Path:
    """Colours of 16 bits, which Pillow does not write."""
    with av.open(str(path), "w", format="image2") as file:
        stream = file.add_stream("png", rate=1)
        stream.height, stream.width = values.shape[:2]
        stream.pix_fmt = f"{kind}be"
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(values), format=f"{kind}le")
        file.mux(stream.encode(frame.reformat(format=f"{kind}be")))
        file.mux(stream.encode(None))
    return path


class TestFrames:
    @pytest.mark.parametrize("suffix", [".gif", ".tif", ".webp", ".png", ".avif"])
    def test_of_several_pictures_the_first_is_read_and_it_says_so(
        self, suffix: str, tmp_path: Path, caplog
    ) -> None:
        frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue", "lime")]
        path = tmp_path / f"x{suffix}"
        frames[0].save(path, save_all=True, append_images=frames[1:])
        assert load_image(path)[4, 4, 0] > 200
        assert caplog.messages == [f"{path}: holds 3 pictures, of which the first is read"]

    def test_smaller_copies_are_no_further_pictures(self, tmp_path: Path, caplog) -> None:
        path = tmp_path / "x.tif"
        small = Image.new("RGB", (8, 8), "red")
        small.encoderinfo = {"tiffinfo": {254: 1}}
        Image.new("RGB", (16, 16), "red").save(path, save_all=True, append_images=[small])
        assert load_image(path).shape == (16, 16, 3)
        assert caplog.messages == []
