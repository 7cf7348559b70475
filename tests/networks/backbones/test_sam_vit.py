"""SAM's image encoder: relative positions, windows, chunks, its one size."""

from __future__ import annotations

import itertools
from typing import Any, TypeVar

import pytest
import torch
from torch import Tensor, nn

from triptych.errors import TriptychError
from triptych.networks.backbones import sam_vit
from triptych.networks.backbones.sam_vit import Block, RelativeAttention, SAMViT, by_distance

T = TypeVar("T", bound=nn.Module)


def randomised(module: T) -> T:
    """With relative positions, which begin as zero, and everything else at random."""
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.5)
    return module.eval()


def plain_attention(attention: RelativeAttention, x: Tensor) -> Tensor:
    """One image ``(h, w, C)``, one head, query and key at a time."""
    height, width, dim = x.shape
    size = dim // attention.heads
    query, key, value = attention.query_key_value(x).split(dim, -1)
    mixed = torch.zeros(height, width, dim)
    places = list(itertools.product(range(height), range(width)))
    for head in range(attention.heads):
        part = slice(head * size, (head + 1) * size)
        for row, column in places:
            mine = query[row, column, part]
            scores = torch.stack(
                [
                    mine @ key[r, c, part] / size**0.5
                    + mine @ attention.rows[row - r + height - 1]
                    + mine @ attention.columns[column - c + width - 1]
                    for r, c in places
                ]
            )
            values = torch.stack([value[r, c, part] for r, c in places])
            mixed[row, column, part] = scores.softmax(0) @ values
    return attention.out(mixed)


@pytest.mark.parametrize(("heads", "side"), [(1, 3), (2, 4)])
@pytest.mark.parametrize("queries", [1, 5, 256])
@torch.no_grad()
def test_attention_by_its_definition(monkeypatch, heads, side, queries):
    monkeypatch.setattr(sam_vit, "QUERIES", queries)  # in chunks of one row, of one, and of all
    attention = randomised(RelativeAttention(8, heads, side))
    x = torch.randn(2, side, side, 8)
    wanted = torch.stack([plain_attention(attention, one) for one in x])
    torch.testing.assert_close(attention(x), wanted)


def test_in_chunks_or_at_once(monkeypatch):
    monkeypatch.setattr(sam_vit, "QUERIES", 12)
    attention = randomised(RelativeAttention(12, 3, 7))
    x = torch.randn(2, 7, 7, 12)
    with torch.no_grad():
        chunks = attention(x)
    torch.testing.assert_close(chunks, attention(x).detach())


def test_the_table_is_read_by_distance():
    table = torch.arange(5.0)[:, None]  # distances from -2 to 2
    assert by_distance(table, 3)[..., 0].tolist() == [[2, 1, 0], [3, 2, 1], [4, 3, 2]]


@pytest.mark.parametrize(
    ("height", "width", "window"), [(5, 5, 3), (4, 4, 4), (3, 3, 7), (6, 4, 2)]
)
@torch.no_grad()
def test_windows_are_attended_to_by_themselves_padding_included(height, width, window):
    block = randomised(Block(8, 2, 12, 9, window, 1e-6))
    x = torch.randn(1, height, width, 8)
    normed = block.norm1(x)
    wanted = x.clone()
    for top, left in itertools.product(range(0, height, window), range(0, width, window)):
        cells = torch.zeros(1, window, window, 8)
        inside = normed[:, top : top + window, left : left + window]
        rows, columns = inside.shape[1:3]
        cells[:, :rows, :columns] = inside
        mixed = block.attention(cells)[:, :rows, :columns]
        wanted[:, top : top + window, left : left + window] += mixed
    wanted = wanted + block.feedforward(block.norm2(wanted))
    torch.testing.assert_close(block(x), wanted)


def test_global_blocks_are_those_that_are_named():
    trunk = SAMViT(8, 4, 2, hidden=12, global_blocks=(1, 3), image_size=40, patch=8, window=3)
    blocks: list[Any] = list(trunk.blocks)
    assert [block.window for block in blocks] == [3, None, 3, None]
    assert [len(block.attention.rows) for block in blocks] == [5, 9, 5, 9]


@pytest.mark.parametrize(("image_size", "patch", "window"), [(32, 8, 3), (48, 16, 14), (20, 5, 2)])
def test_a_map_at_the_stride_of_a_patch_and_a_gradient_for_every_weight(image_size, patch, window):
    trunk = SAMViT(
        8, 2, 2, hidden=12, global_blocks=(1,), image_size=image_size, patch=patch, window=window,
        width=6,
    )  # fmt: skip
    pixels = torch.randn(2, 3, image_size, image_size)
    found = trunk(pixels)
    assert found.shape == (2, 6, image_size // patch, image_size // patch)
    found.square().sum().backward()
    assert not [name for name, p in trunk.named_parameters() if p.grad is None]
    with torch.no_grad():  # other arithmetic, see above
        torch.testing.assert_close(trunk.eval()(pixels), found.detach(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("height", "width"), [(32, 40), (24, 32), (64, 64)])
def test_other_sizes_are_refused_in_one_line(height, width):
    trunk = SAMViT(8, 1, 2, hidden=8, image_size=32, patch=8, width=8)
    with pytest.raises(
        TriptychError, match=f"takes 32 x 32 pixels .* not {width} x {height};"
    ) as e:
        trunk(torch.zeros(1, 3, height, width))
    assert "\n" not in str(e.value)


def test_numbers_that_do_not_go_together():
    with pytest.raises(ValueError, match="3 heads do not divide 8"):
        SAMViT(8, 1, 3, image_size=32, patch=8)
    with pytest.raises(ValueError, match="patches of 7 pixels do not fill 32"):
        SAMViT(8, 1, 2, image_size=32, patch=7)
