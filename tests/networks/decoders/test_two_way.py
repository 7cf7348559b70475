"""The mask decoder: what is computed once, what nobody looks at, which masks come out."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from triptych.networks.decoders.prompt_encoder import EncodedPrompts
from triptych.networks.decoders.two_way import MaskDecoder, TwoWayBlock

WIDTH = 16


@pytest.fixture
def decoder() -> MaskDecoder:
    torch.manual_seed(0)
    decoder = MaskDecoder(WIDTH, 2, 24, quality_hidden=12)
    for parameter in decoder.parameters():
        nn.init.normal_(parameter, std=0.4)
    return decoder.eval()


EMBEDDING = torch.randn(1, WIDTH, 4, 3, generator=torch.Generator().manual_seed(1))
CELLS = torch.randn(12, WIDTH, generator=torch.Generator().manual_seed(2))


def encoded(count: int = 3, tokens: int = 2, masks: bool = False, fill: int = 0) -> EncodedPrompts:
    generator = torch.Generator().manual_seed(3)
    present = None
    if fill:
        present = torch.ones(count, tokens, dtype=torch.bool)
        present[:, -fill:] = False
    shape = (count, WIDTH, 4, 3) if masks else (1, WIDTH, 1, 1)
    return EncodedPrompts(
        torch.randn(count, tokens, WIDTH, generator=generator),
        present,
        torch.randn(shape, generator=generator),
    )


def answer(decoder: MaskDecoder, prompts: EncodedPrompts, multimask: bool = True) -> list[Tensor]:
    return list(decoder(EMBEDDING, CELLS, prompts, multimask=multimask))


@pytest.mark.parametrize("grad", [False, True])
def test_what_the_first_block_makes_of_the_image_is_computed_once(decoder, grad):
    sizes: dict[str, int] = {}
    for index, block in enumerate(decoder.transformer.blocks):
        parts = {
            "keys": block.to_image.key,
            "values": block.to_image.value,
            "queries": block.to_tokens.query,
        }
        for name, part in parts.items():
            part.register_forward_hook(
                lambda _, given, __, at=f"{name} {index}": sizes.__setitem__(at, len(given[0]))
            )
    prompts = encoded(3)
    with torch.set_grad_enabled(grad):
        found = answer(decoder, prompts)
    once = {"keys 0": 1, "values 0": 1, "queries 0": 1}
    assert sizes == once | {"keys 1": 3, "values 1": 3, "queries 1": 3}

    # The same image for each prompt, spelt out.
    apart = prompts._replace(dense=prompts.dense.expand(3, -1, -1, -1))
    with torch.no_grad():
        wanted = answer(decoder, apart)
    assert sizes["keys 0"] == 3
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one.detach(), other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("masks", [False, True])
@torch.no_grad()
def test_a_prompt_is_answered_alike_in_any_company(decoder, masks):
    prompts = encoded(3, masks=masks)
    found = answer(decoder, prompts)
    for row in range(3):
        one = slice(row, row + 1)
        dense = prompts.dense[one] if masks else prompts.dense
        alone = answer(decoder, EncodedPrompts(prompts.tokens[one], None, dense))
        for whole, part in zip(found, alone, strict=True):
            torch.testing.assert_close(whole[one], part, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_nobody_looks_at_what_fills_up_a_row(decoder):
    short = encoded(2, 2)
    long = EncodedPrompts(
        torch.cat((short.tokens, 9 * torch.randn(2, 3, WIDTH)), 1),
        torch.tensor([[True, True, False, False, False]]).expand(2, -1),
        short.dense,
    )
    wanted = answer(decoder, short)
    for one, other in zip(answer(decoder, long), wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
    seen = answer(decoder, long._replace(present=None))
    assert (seen[0] - wanted[0]).abs().max() > 0.01


@torch.no_grad()
def test_the_first_mask_alone_or_the_others(decoder):
    prompts = encoded(2)
    three, one = answer(decoder, prompts), answer(decoder, prompts, multimask=False)
    assert [tuple(part.shape) for part in three] == [(2, 3, 16, 12), (2, 3)]
    assert [tuple(part.shape) for part in one] == [(2, 1, 16, 12), (2, 1)]
    # A change of one mask's layers shows in that mask and no other.
    for index in range(4):
        network: Any = decoder.hypernetworks[index]
        quality: Any = decoder.quality[-1]
        network[-1].bias += 1.0
        quality.bias[index] += 1.0
        changed = answer(decoder, prompts), answer(decoder, prompts, multimask=False)
        network[-1].bias -= 1.0
        quality.bias[index] -= 1.0
        for before, after in zip(three, changed[0], strict=True):
            moved = (after - before).abs().transpose(0, 1).flatten(1).amax(1)
            assert (moved > 1e-3).tolist() == [index == mask for mask in (1, 2, 3)]
        for before, after in zip(one, changed[1], strict=True):
            assert ((after - before).abs().max() > 1e-3) == (index == 0)


@torch.no_grad()
def test_the_first_block_adds_neither_positions_nor_a_shortcut():
    block = TwoWayBlock(8, 2, 12, 4, 1e-5, first=True)
    other = TwoWayBlock(8, 2, 12, 4, 1e-5, first=False)
    other.load_state_dict(block.state_dict())
    tokens, image = torch.randn(1, 3, 8), torch.randn(1, 5, 8)
    nowhere, grid = torch.zeros(1, 3, 8), torch.zeros(1, 5, 8)
    found, _ = block(tokens, image, nowhere, grid, None)
    nn.init.zeros_(other.self_attention.out.weight)
    nn.init.zeros_(other.self_attention.out.bias)
    # With the attention's result in place of the tokens, and none added, it is the same.
    mixed = block.self_attention(tokens, tokens, tokens)
    wanted, _ = other(mixed, image, nowhere, grid, None)
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("masks", [1, 3])
def test_every_weight_gets_a_gradient(masks):
    decoder = MaskDecoder(WIDTH, 2, 24, masks=masks, quality_hidden=12)
    for multimask in (True, False):
        found, quality = answer(decoder, encoded(2, fill=1), multimask)
        assert found.shape[1] == quality.shape[1] == (masks if multimask else 1)
        (found.square().mean() + quality.square().mean()).backward()
    assert not [name for name, p in decoder.named_parameters() if p.grad is None]
