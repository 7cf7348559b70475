from __future__ import annotations

import io
import json
import os
import struct
import warnings
import zlib
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from triptych.errors import TriptychError
from triptych.image.decode import MAX_PIXELS, SUFFIXES
from triptych.image.preprocess import Preprocess, load_image


@pytest.fixture
def rgb() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)


def smooth(height: int, width: int) -> np.ndarray:
    """A picture that lossy formats keep nearly as it is."""
    y, x = np.mgrid[:height, :width]
    return np.stack([8 * y, 8 * x, 4 * (x + y)], axis=-1).clip(0, 255).astype(np.uint8)


class TestLoad:
    def test_every_kind_of_source_gives_the_same_pixels(self, rgb, tmp_path):
        path = tmp_path / "x.png"
        Image.fromarray(rgb).save(path)
        tensor = torch.from_numpy(rgb)
        with Image.open(path) as picture:
            sources = [path, str(path), picture, rgb, tensor, tensor.permute(2, 0, 1)]
            for source in sources:
                image = load_image(source)
                assert image.dtype == torch.uint8
                assert image.is_contiguous()
                assert torch.equal(image, tensor)

    def test_a_read_only_or_strided_array_is_copied_and_left_alone(self, rgb):
        flipped = rgb[:, ::-1]
        flipped.flags.writeable = False
        image = load_image(flipped)
        image.zero_()
        assert rgb.any()

    @pytest.mark.parametrize("suffix", sorted(SUFFIXES - {".mpo"}))
    def test_every_listed_format_is_read(self, suffix, tmp_path):
        pixels = smooth(24, 30)
        path = tmp_path / f"x{suffix.upper()}"
        mode = {".pgm": "L", ".pbm": "1"}.get(suffix, "RGB")
        Image.fromarray(pixels).convert(mode).save(
            path, format=Image.registered_extensions()[suffix]
        )
        expected = np.asarray(Image.fromarray(pixels).convert(mode).convert("RGB")).astype(int)
        image = load_image(path)
        assert image.shape == (24, 30, 3)
        assert abs(image.numpy() - expected).mean() < 6

    def test_a_two_picture_jpeg_of_a_phone_is_read(self, tmp_path):
        first, second = smooth(24, 30), np.zeros((24, 30, 3), np.uint8)
        path = tmp_path / "x.jpg"
        Image.fromarray(first).save(
            path, format="MPO", save_all=True, append_images=[Image.fromarray(second)]
        )
        with Image.open(path) as picture:
            assert picture.format == "MPO"
        assert abs(load_image(path).numpy().astype(int) - first).mean() < 6

    @pytest.mark.parametrize("orientation", range(1, 9))
    @pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp"])
    def test_exif_rotation_is_undone(self, orientation, suffix, tmp_path):
        upright = smooth(16, 32)
        # What a camera held in that orientation stores, by the tables of the EXIF standard.
        stored = {
            1: upright,
            2: upright[:, ::-1],
            3: upright[::-1, ::-1],
            4: upright[::-1],
            5: upright.transpose(1, 0, 2),
            6: upright.transpose(1, 0, 2)[::-1],
            7: upright.transpose(1, 0, 2)[::-1, ::-1],
            8: upright.transpose(1, 0, 2)[:, ::-1],
        }[orientation]
        exif = Image.Exif()
        exif[0x0112] = orientation
        path = tmp_path / f"x{suffix}"
        extra: dict[str, Any] = {"quality": 95} if suffix in (".jpg", ".webp") else {}
        Image.fromarray(np.ascontiguousarray(stored)).save(path, exif=exif, **extra)
        image = load_image(path).numpy().astype(int)
        assert image.shape == upright.shape
        assert abs(image - upright).mean() < 6
        with Image.open(path) as picture:
            assert np.array_equal(load_image(picture).numpy(), image)

    def test_damaged_exif_leaves_the_picture_as_it_is(self, tmp_path):
        path = tmp_path / "x.jpg"
        Image.fromarray(smooth(16, 32)).save(path, exif=b"Exif\0\0II*\0\xff\xff\xff\xff broken")
        assert load_image(path).shape == (16, 32, 3)

    def test_grey_is_repeated(self, rgb, tmp_path):
        grey = rgb[..., 0]
        path = tmp_path / "x.png"
        Image.fromarray(grey).save(path)
        for source in (path, grey, grey[..., None], torch.from_numpy(grey)):
            image = load_image(source).numpy()
            assert all(np.array_equal(image[..., c], grey) for c in range(3))

    def test_transparency_is_laid_on_white(self, tmp_path):
        rgba = np.array([[[10, 20, 30, 0], [10, 20, 30, 255], [0, 0, 200, 128]]], np.uint8)
        path = tmp_path / "x.png"
        Image.fromarray(rgba).save(path)
        for source in (path, rgba):
            assert load_image(source).tolist() == [[[255] * 3, [10, 20, 30], [127, 127, 227]]]

    def test_a_transparent_palette_entry_is_white(self, tmp_path):
        picture = Image.new("P", (2, 1))
        picture.putpalette([200, 0, 0, 0, 0, 200])
        picture.putpixel((1, 0), 1)
        picture.save(tmp_path / "x.png", transparency=0)
        assert load_image(tmp_path / "x.png").tolist() == [[[255, 255, 255], [0, 0, 200]]]
        picture.save(tmp_path / "y.png")
        assert load_image(tmp_path / "y.png").tolist() == [[[200, 0, 0], [0, 0, 200]]]

    @pytest.mark.parametrize("suffix", [".png", ".tif", ".pgm"])
    def test_16_bit_grey_is_scaled_not_clipped(self, suffix, tmp_path):
        deep = np.array([[0, 128, 129, 257, 32896, 65535]], np.uint16)
        path = tmp_path / f"x{suffix}"
        Image.fromarray(deep).save(path)
        for source in (path, deep):
            assert load_image(source)[0, :, 0].tolist() == [0, 0, 1, 1, 128, 255]

    def test_cmyk_jpeg_is_converted(self, tmp_path):
        path = tmp_path / "x.jpg"
        Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(path, quality=95)
        red = load_image(path)[8, 8]
        assert red[0] > 200
        assert red[1:].max() < 60

    @pytest.mark.parametrize("suffix", [".gif", ".tif", ".webp", ".png"])
    def test_the_first_frame_is_read(self, suffix, tmp_path):
        frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue", "lime")]
        path = tmp_path / f"x{suffix}"
        frames[0].save(path, save_all=True, append_images=frames[1:])
        assert load_image(path)[4, 4, 0] > 200
        assert load_image(path)[4, 4, 1:].max() < 60


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims any size, in under a hundred bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + checksum

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(b"\0" * 100)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


class TestRefusal:
    def refused(self, source: object) -> str:
        with pytest.raises(TriptychError) as caught:
            load_image(source)  # type: ignore[arg-type]
        message = str(caught.value)
        assert "\n" not in message
        return message

    def test_missing_and_folder_and_empty(self, tmp_path):
        assert "gone.jpg: no such file" in self.refused(tmp_path / "gone.jpg")
        assert "is a folder" in self.refused(tmp_path)
        (tmp_path / "empty.jpg").touch()
        assert "empty.jpg: is empty" in self.refused(tmp_path / "empty.jpg")
        assert "download" in self.refused("https://example.org/x.jpg")
        assert "cannot be read" in self.refused("x" * 5000)

    def test_a_pipe_is_refused_and_not_waited_for(self, tmp_path):
        os.mkfifo(tmp_path / "pipe.jpg")
        assert "not a regular file" in self.refused(tmp_path / "pipe.jpg")

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
    def test_unreadable(self, tmp_path):
        path = tmp_path / "x.png"
        Image.new("RGB", (2, 2)).save(path)
        path.chmod(0)
        assert "x.png: cannot be read (Permission denied)" in self.refused(path)

    def test_failing_disk(self, tmp_path, monkeypatch):
        path = tmp_path / "x.png"
        Image.new("RGB", (2, 2)).save(path)

        def fail(*_):
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(Image, "open", fail)
        assert "x.png: cannot be read (Permission denied)" in self.refused(path)

    def test_no_image(self, tmp_path):
        path = tmp_path / "notes.jpg"
        path.write_text("not an image at all")
        assert "notes.jpg: is a text file, not an image" in self.refused(path)

    @pytest.mark.parametrize(
        "suffix", [".jpg", ".png", ".webp", ".tif", ".bmp", ".gif", ".jp2", ".avif", ".ppm"]
    )
    @pytest.mark.parametrize("share", [0.02, 0.3, 0.6])
    def test_truncated(self, suffix, share, tmp_path):
        whole = io.BytesIO()
        noise = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
        Image.fromarray(noise).save(whole, format=Image.registered_extensions()[suffix])
        path = tmp_path / f"x{suffix}"
        path.write_bytes(whole.getvalue()[: int(share * len(whole.getvalue()))])
        message = self.refused(path)
        assert str(path) in message
        assert any(word in message for word in ("truncated", "damaged", "cannot be read"))

    @settings(max_examples=150, deadline=None)
    @given(
        suffix=st.sampled_from(["JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP"]),
        flips=st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), min_size=1, max_size=9),
    )
    def test_whatever_is_damaged_ends_in_an_image_or_in_one_line(
        self, suffix, flips, tmp_path_factory
    ):
        whole = io.BytesIO()
        Image.fromarray(smooth(12, 16)).save(whole, format=suffix)
        data = bytearray(whole.getvalue())
        for place, value in flips:
            data[int(place * len(data))] = value
        path = tmp_path_factory.getbasetemp() / "flipped"
        path.write_bytes(data)
        outcome: object = None
        try:
            with warnings.catch_warnings():  # Pillow grumbles about bad tags while decoding
                warnings.simplefilter("ignore")
                outcome = load_image(path).ndim
        except TriptychError as error:
            outcome = str(error)
        assert outcome == 3 or (isinstance(outcome, str) and "\n" not in outcome)

    @pytest.mark.parametrize(
        ("edge", "told"),
        [
            (11600, "134,217,728 pixels, the limit of an image in one piece; read it in windows"),
            (30000, "134,217,728 pixels, the limit of an image in one piece; read it in windows"),
            (40000, "1,073,741,824 pixels, the limit; shrink it or cut it up first"),
        ],
    )
    def test_a_decompression_bomb_is_refused_before_decoding(self, edge, told, tmp_path, recwarn):
        # Above ours but below Pillow's limit (which only warns), above both, too much for windows.
        path = tmp_path / "bomb.png"
        path.write_bytes(png_header(edge, edge))
        message = self.refused(path)
        assert f"bomb.png: has more than {told}" in message
        assert not recwarn.list

    def test_sizes_that_only_pillow_grumbles_about_are_read_in_silence(self, tmp_path, monkeypatch):
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 300)
        path = tmp_path / "large.png"
        Image.fromarray(smooth(20, 20)).save(path)
        with pytest.warns(Image.DecompressionBombWarning), Image.open(path):
            pass
        assert load_image(path).shape == (20, 20, 3)  # warnings are errors here
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
        with pytest.raises(Image.DecompressionBombError), Image.open(path):
            pass
        assert load_image(path).shape == (20, 20, 3)
        assert Image.MAX_IMAGE_PIXELS == 100
        assert MAX_PIXELS > 10_000 * 10_000

    def test_a_format_that_runs_a_program_is_refused(self, tmp_path):
        path = tmp_path / "x.eps"
        Image.new("RGB", (4, 4)).save(path)
        assert "is a PostScript document (EPS), not an image" in self.refused(path)

    def test_floating_point_pixels(self, tmp_path):
        Image.fromarray(np.ones((4, 4), np.float32)).save(tmp_path / "x.tif")
        assert "fixed white" in self.refused(tmp_path / "x.tif")

    def test_arrays_of_another_kind(self):
        assert "expected uint8" in self.refused(np.zeros((4, 4, 3), np.float32))
        assert "expected uint8" in self.refused(torch.zeros(3, 4, 4))
        assert "expected (H, W, 3)" in self.refused(np.zeros((4, 4, 2), np.uint8))
        assert "expected (H, W, 3)" in self.refused(np.zeros((1, 3, 4, 4), np.uint8))
        assert "expected (H, W, 3)" in self.refused(np.zeros(3, np.uint8))
        assert "no pixels (3 x 0)" in self.refused(np.zeros((0, 3, 3), np.uint8))
        assert "from dict" in self.refused({})

    def test_a_truncated_pil_image_is_named(self, tmp_path):
        path = tmp_path / "x.jpg"
        noise = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
        Image.fromarray(noise).save(path)
        path.write_bytes(path.read_bytes()[:1000])
        with Image.open(path) as picture:
            assert "x.jpg: is truncated" in self.refused(picture)


edges = st.integers(1, 400)


class TestPreprocess:
    def test_an_image_of_the_right_size_is_only_normalised(self, rgb):
        preprocess = Preprocess(size=(5, 7), mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7))
        batch = preprocess([torch.from_numpy(rgb)])
        expected = (rgb / 255 - [0.1, 0.2, 0.3]) / [0.5, 0.6, 0.7]
        assert batch.pixels.dtype == torch.float32
        assert np.allclose(batch.pixels[0].permute(1, 2, 0), expected, atol=1e-6)
        assert batch.geometries[0].input_size == (5, 7)

    @settings(max_examples=100, deadline=None)
    @given(height=edges, width=edges, shortest=edges, longest=st.none() | edges)
    def test_edges_are_rounded_as_transformers_rounds(self, height, width, shortest, longest):
        from transformers.image_transforms import get_size_with_aspect_ratio

        ours = (
            Preprocess(shortest_edge=shortest, longest_edge=longest)
            .plan((height, width))
            .valid_size
        )
        theirs = get_size_with_aspect_ratio((height, width), shortest, longest)
        assert ours == tuple(max(edge, 1) for edge in theirs)

    @pytest.mark.parametrize("size", [(37, 91), (120, 50), (64, 96)])
    def test_equals_the_mask2former_processor_of_transformers(self, size):
        from transformers.models.mask2former.image_processing_pil_mask2former import (
            Mask2FormerImageProcessorPil,
        )

        image = torch.randint(0, 256, (*size, 3), dtype=torch.uint8)
        theirs = Mask2FormerImageProcessorPil(
            size={"shortest_edge": 64, "longest_edge": 96}, size_divisor=32
        )(image.numpy(), return_tensors="pt")["pixel_values"]
        ours = Preprocess(shortest_edge=64, longest_edge=96, size_divisor=32, stretch=True)([image])
        assert ours.pixels.shape == theirs.shape
        assert torch.allclose(ours.pixels, theirs, atol=1e-5)

    def test_equals_the_segformer_processor_of_transformers(self):
        from transformers.models.segformer.image_processing_pil_segformer import (
            SegformerImageProcessorPil,
        )

        image = torch.randint(0, 256, (50, 70, 3), dtype=torch.uint8)
        theirs = SegformerImageProcessorPil(size={"height": 32, "width": 48})(
            image.numpy(), return_tensors="pt"
        )["pixel_values"]
        assert torch.allclose(Preprocess(size=(32, 48))([image]).pixels, theirs, atol=1e-5)

    def test_longest_edge_alone_is_exact(self):
        for size in [(100, 33), (33, 100), (1, 100), (400, 400)]:
            assert max(Preprocess(longest_edge=77).plan(size).valid_size) == 77
            assert min(Preprocess(longest_edge=77).plan(size).valid_size) >= 1

    @pytest.mark.parametrize(
        ("size", "valid"), [((1025, 2048), (513, 1024)), ((1023, 2048), (512, 1024))]
    )
    def test_with_the_longest_edge_halves_are_rounded_up(self, size, valid):
        for turned in (1, -1):
            plan = Preprocess(longest_edge=1024).plan(size[::turned])
            assert plan.valid_size == valid[::turned]

    @settings(max_examples=50, deadline=None)
    @given(
        sizes=st.lists(st.tuples(st.integers(1, 60), st.integers(1, 60)), min_size=1, max_size=4),
        divisor=st.sampled_from([1, 4, 32]),
        stretch=st.booleans(),
        pad=st.booleans(),
        shortest=st.sampled_from([None, 20]),
    )
    def test_a_batch_holds_each_image_as_it_is_alone(self, sizes, divisor, stretch, pad, shortest):
        preprocess = Preprocess(
            shortest_edge=shortest,
            longest_edge=200,
            size_divisor=divisor,
            stretch=stretch,
            pad=pad,
        )
        generator = torch.Generator().manual_seed(0)
        images = [
            torch.randint(0, 256, (*size, 3), dtype=torch.uint8, generator=generator)
            for size in sizes
        ]
        batch = preprocess(images)
        count, channels, height, width = batch.pixels.shape
        assert (count, channels) == (len(images), 3)
        if pad or stretch:
            assert height % divisor == width % divisor == 0
        for image, pixels, geometry in zip(images, batch.pixels, batch.geometries, strict=True):
            alone = preprocess([image])
            assert geometry.input_size == (height, width)
            assert geometry.image_size == tuple(image.shape[:2])
            assert geometry.valid_size == alone.geometries[0].valid_size
            assert alone.geometries[0].input_size == preprocess.plan(geometry.image_size).input_size
            if not pad:
                assert geometry.valid_size == preprocess.plan(geometry.image_size).input_size
            h, w = geometry.valid_size
            assert torch.equal(pixels[:, :h, :w], alone.pixels[0, :, :h, :w])
            assert not pixels[:, h:].any()
            assert not pixels[:, :, w:].any()
        assert height == max(preprocess.plan(size).input_size[0] for size in sizes)
        assert width == max(preprocess.plan(size).input_size[1] for size in sizes)

    def test_the_images_are_left_alone(self, rgb):
        image = torch.from_numpy(rgb.copy())
        Preprocess(shortest_edge=3)([image])
        assert np.array_equal(image, rgb)

    def test_plain_data_round_trip(self):
        preprocess = Preprocess(
            size=(3, 4), size_divisor=2, mean=(0.0, 0.5, 1.0), resample="bicubic"
        )
        assert Preprocess.from_dict(json.loads(json.dumps(preprocess.to_dict()))) == preprocess
        assert Preprocess.from_dict({}) == Preprocess()

    @pytest.mark.parametrize(
        ("settings", "words"),
        [
            ({"shortest_edge": 0}, "shortest_edge is 0"),
            ({"shortest_edge": 1.5}, "shortest_edge is 1.5"),
            ({"longest_edge": -3}, "longest_edge is -3"),
            ({"size_divisor": None}, "size_divisor is None"),
            ({"size_divisor": True}, "size_divisor is True"),
            ({"size": [3]}, "size is (3,)"),
            ({"size": 512}, "size is 512"),
            ({"size": [3, 4], "shortest_edge": 5}, "size excludes"),
            ({"mean": [123.7, 116.3, 103.5]}, "divide by 255"),
            ({"mean": [0.5]}, "three numbers"),
            ({"std": [0.5, 0.5, 0]}, "std is"),
            ({"std": [float("nan")] * 3}, "std is"),
            ({"std": "abc"}, "std is"),
            ({"resample": "area"}, "resample is 'area'"),
            ({"stretch": 1}, "stretch is 1"),
            ({"pad": None}, "pad is None"),
            ({"crop": 3}, "unknown setting 'crop'"),
        ],
    )
    def test_wrong_settings_are_named(self, settings, words):
        with pytest.raises(TriptychError) as caught:
            Preprocess.from_dict(settings)
        assert words in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_a_thread_of_pixels_does_not_grow_into_a_bomb(self):
        with pytest.raises(TriptychError, match="would grow to 80000000 x 800"):
            Preprocess(shortest_edge=800).plan((1, 100_000))

    def test_an_empty_batch_is_refused(self):
        with pytest.raises(TriptychError, match="no image"):
            Preprocess()([])
