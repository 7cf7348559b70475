"""The pixel labellers' loss against torch's own on full-size logits."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from tests.train.test_matcher import targets

from triptych.data.targets import Targets
from triptych.networks.contract import Prediction
from triptych.networks.models.registry import build
from triptych.train.labelling import LabellingCriterion
from triptych.truth import IGNORE


def labels(semantic: torch.Tensor) -> Targets:
    return targets([], torch.zeros((0, *semantic.shape), dtype=torch.bool), semantic)


@pytest.mark.parametrize("weights", [(), (1.0, 2.0, 0.5)])
def test_the_loss_is_the_mean_cross_entropy_of_the_known_pixels(weights: tuple[float, ...]) -> None:
    logits = torch.randn(2, 3, 4, 6)
    truth = torch.randint(0, 3, (2, 16, 24))
    truth[0, :5] = IGNORE
    loss = LabellingCriterion(class_weights=weights)(
        Prediction.from_logits(logits, None), [labels(t) for t in truth]
    )
    resized = F.interpolate(logits, size=(16, 24), mode="bilinear")
    weight = torch.tensor(weights) if weights else None
    expected = F.cross_entropy(resized, truth, weight, ignore_index=IGNORE)
    assert list(loss) == ["pixel"]
    assert loss["pixel"].item() == pytest.approx(expected.item(), rel=1e-5)


def test_nothing_but_void_costs_nothing() -> None:
    logits = torch.randn(1, 3, 4, 6, requires_grad=True)
    void = torch.full((16, 24), IGNORE)
    loss = LabellingCriterion()(Prediction.from_logits(logits, None), [labels(void)])["pixel"]
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None
    assert logits.grad.abs().sum() == 0


def test_two_processes_share_the_normalisation() -> None:
    logits, truth = torch.randn(1, 3, 4, 6), torch.randint(0, 3, (1, 16, 24))
    criterion = LabellingCriterion()
    alone = criterion(Prediction.from_logits(logits, None), [labels(truth[0])])["pixel"]
    shared = criterion(
        Prediction.from_logits(logits, None), [labels(truth[0])], lambda mine: mine / 2
    )["pixel"]
    assert shared.item() == pytest.approx(2 * alone.item(), rel=1e-5)


def test_a_small_segformer_learns_to_tell_left_from_right() -> None:
    arguments = {"channels": (8, 16, 24, 32), "depths": (1, 1, 1, 1), "heads": (1, 2, 3, 4)}
    model = build(
        "segformer", classes=2, decoder_dim=32, drop_path=0.0, dropout=0.0, **arguments
    ).train()
    pixels = torch.zeros(2, 3, 64, 64)
    pixels[..., 32:] = 1
    semantic = torch.zeros(64, 64, dtype=torch.long)
    semantic[:, 32:] = 1
    optimiser = torch.optim.AdamW(model.parameters(), lr=2e-3)
    criterion = LabellingCriterion()
    losses = []
    for _ in range(40):
        optimiser.zero_grad()
        loss = criterion(model(pixels), [labels(semantic)] * 2)["pixel"]
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.25 * losses[0]
