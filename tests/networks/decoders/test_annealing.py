"""Attention masks that apply ever more rarely."""

from __future__ import annotations

import pytest
import torch
from tests.networks.decoders.test_query import decoder_of, features_of

from triptych.errors import TriptychError
from triptych.networks.decoders.annealing import MaskAnnealing
from triptych.train.step import reach_step


def after(steps: int) -> MaskAnnealing:
    fading = MaskAnnealing(10, 20)
    fading.set_step(steps)
    return fading


@pytest.mark.parametrize(("steps", "share"), [(0, 0.0), (10, 0.0), (15, 0.5), (18, 0.8), (25, 1.0)])
def test_the_share_of_free_queries_rises_between_the_steps(steps, share):
    torch.manual_seed(0)
    free = after(steps).train().unmasked((100, 100), torch.device("cpu"))
    assert free.float().mean().item() == pytest.approx(share, abs=0.02)


@pytest.mark.parametrize(("steps", "free"), [(10, False), (14, False), (16, True), (30, True)])
def test_in_use_all_are_masked_or_none(steps, free):
    assert bool((after(steps).eval().unmasked((3, 4), torch.device("cpu")) == free).all())


@pytest.mark.parametrize("steps", [(5, 5), (-1, 5), (9, 3)])
def test_steps_must_rise(steps):
    with pytest.raises(TriptychError, match="give two steps, the later one second"):
        MaskAnnealing(*steps)


def test_the_decoder_goes_from_masked_to_plain_and_a_copy_knows_how_far():
    decoder, features = decoder_of(annealing=(0, 4)), features_of()
    masked = decoder_of(masked=True)
    masked.load_state_dict(decoder.state_dict(), strict=False)
    plain = decoder_of(masked=False)
    plain.load_state_dict(decoder.state_dict(), strict=False)

    def gap(one: torch.nn.Module, other: torch.nn.Module) -> float:
        with torch.no_grad():
            return float((one(features).mask_logits - other(features).mask_logits).abs().max())

    assert gap(decoder.eval(), masked.eval()) == 0
    decoder.train()
    decoder(features)
    assert gap(decoder.eval(), masked.eval()) == 0, "passes are not steps"
    reach_step(decoder, 4)
    copy = decoder_of(annealing=(0, 4))
    copy.load_state_dict(decoder.state_dict())
    assert gap(copy.eval(), plain.eval()) == 0
    assert gap(copy.eval(), masked.eval()) > 1e-4
