"""Swin: windows, the mask across seams, the bias table, published sizes."""

from __future__ import annotations

import pytest
import torch

from triptych.networks.backbones import swin
from triptych.networks.backbones.swin import Block, Swin, from_windows, shift_mask, to_windows


@pytest.mark.parametrize(("height", "width"), [(32, 64), (57, 90), (130, 33)])
@pytest.mark.parametrize("window", [3, 4])
def test_four_maps_rounded_up(height, width, window):
    trunk = Swin(8, (2, 1, 2, 1), (1, 2, 2, 4), window=window).eval()
    with torch.inference_mode():
        maps = trunk(torch.randn(2, 3, height, width))
    assert trunk.channels == (8, 16, 32, 64)
    for stride, channels, m in zip((4, 8, 16, 32), trunk.channels, maps, strict=True):
        assert m.shape == (2, channels, -(-height // stride), -(-width // stride))


def test_windows_go_there_and_back():
    x = torch.arange(2 * 6 * 9 * 2.0).view(2, 6, 9, 2)
    windows = to_windows(x, 3)
    assert windows.shape == (2 * 6, 9, 2)
    assert torch.equal(windows[1].view(3, 3, 2), x[0, :3, 3:6])
    assert torch.equal(from_windows(windows, 3, x.shape), x)


@pytest.mark.parametrize(
    ("height", "width", "window"), [(8, 12, 4), (5, 7, 3), (4, 4, 4), (7, 20, 7)]
)
def test_the_mask_parts_what_the_shift_brought_together(height, width, window):
    mask = shift_mask(height, width, window, torch.float32, torch.device("cpu"))
    shift = window // 2
    rows, columns = -(-height // window), -(-width // window)
    assert mask.shape == (rows * columns, 1, window**2, window**2)
    for index in range(rows * columns):
        row, column = divmod(index, columns)
        wrapped = []  # did this pixel come round from the other side?
        for position in range(window**2):
            down, right = divmod(position, window)
            wrapped.append(
                (
                    row * window + down + shift >= rows * window,
                    column * window + right + shift >= columns * window,
                )
            )
        wanted = [[0.0 if a == b else -100.0 for b in wrapped] for a in wrapped]
        assert mask[index, 0].tolist() == wanted


def test_the_bias_depends_on_the_relative_position_only():
    window = 4
    index = swin.bias_index(window)
    assert index.shape == (16, 16)
    of_offset: dict[tuple[int, int], int] = {}
    for a in range(16):
        for b in range(16):
            offset = (a // window - b // window, a % window - b % window)
            place = int(index[a, b])
            assert of_offset.setdefault(offset, place) == place
    assert sorted(of_offset.values()) == list(range((2 * window - 1) ** 2))
    # The published table runs row by row from the offset (-3, -3).
    assert of_offset[(-3, -3)] == 0
    assert of_offset[(-3, -2)] == 1


def test_an_unshifted_block_sees_its_window_only_and_a_shifted_one_more():
    plain, shifted = (
        Block(8, 1, window=4, shift=shift, expansion=2, drop_path=0.0) for shift in (0, 2)
    )
    x = torch.randn(1, 12, 12, 8)
    changed = x.clone()
    changed[0, 3, 3] += torch.randn(8)
    mask = shift_mask(12, 12, 4, x.dtype, x.device)
    with torch.inference_mode():
        seen = (plain(x, mask) != plain(changed, mask)).any(-1)[0].nonzero()
        assert seen.amin(0).tolist() == [0, 0]
        assert seen.amax(0).tolist() == [3, 3]
        seen = (shifted(x, mask) != shifted(changed, mask)).any(-1)[0].nonzero()
        assert seen.amin(0).tolist() == [2, 2]
        assert seen.amax(0).tolist() == [5, 5]


# The authors' whole classifiers with windows of 7, counted by timm.
@pytest.mark.parametrize(
    ("name", "classifier"),
    [
        ("swin_tiny", 28_288_354),
        ("swin_small", 49_606_258),
        ("swin_base", 87_768_224),
        ("swin_large", 196_532_476),
    ],
)
def test_published_sizes(name, classifier):
    with torch.device("meta"):
        trunk = getattr(swin, name)(window=7)
    last = trunk.channels[-1]
    head = 1000 * last + 1000 + 2 * last  # linear layer, and the norm before it
    norms = 2 * sum(trunk.channels)
    assert sum(p.numel() for p in trunk.parameters()) == classifier - head + norms


def test_every_parameter_learns():
    trunk = Swin(8, (2, 2, 2, 2), (1, 2, 2, 4), window=3, drop_path=0.0).train()
    maps = trunk(torch.randn(2, 3, 96, 96))
    sum((m * torch.randn_like(m)).sum() for m in maps).backward()
    still = [n for n, p in trunk.named_parameters() if p.grad is None or not p.grad.any()]
    assert still == []
