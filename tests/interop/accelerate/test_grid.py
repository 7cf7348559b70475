"""Accelerated models over the options of the parity tests, with weights and sizes at random."""

from __future__ import annotations

from typing import Any

import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from tests.interop.accelerate.test_forward import close, inputs, run
from tests.parity import test_mask2former, test_maskformer, test_oneformer, test_segformer
from tests.parity.conftest import randomise
from transformers import (
    Mask2FormerForUniversalSegmentation,
    MaskFormerForInstanceSegmentation,
    OneFormerForUniversalSegmentation,
    SegformerForSemanticSegmentation,
)

import triptych

SIDES = st.integers(64, 130)
FEW = settings(max_examples=8, deadline=None, derandomize=True, phases=[Phase.generate])


def check(model: Any, batch: int, size: tuple[int, int]) -> None:
    """Their output and ours."""
    randomise(model.eval())
    given = inputs(model, batch, size)
    wanted = run(model, given)
    triptych.accelerate(model)
    with torch.inference_mode():
        model.forward._check(given)  # raises where theirs would run
    found = run(model, given)
    assert list(found) == list(wanted)
    for name, value in found.items():
        close(value, wanted[name])


@FEW
@given(config=test_segformer.configs(), batch=st.integers(1, 2), height=SIDES, width=SIDES)
def test_segformer_options(config: Any, batch: int, height: int, width: int):
    check(SegformerForSemanticSegmentation(config), batch, (height, width))


@FEW
@given(
    window=st.sampled_from((3, 4, 7, 12)),
    dim=st.sampled_from((32, 64)),
    layers=st.integers(2, 5),
    queries=st.integers(1, 9),
    batch=st.integers(1, 2),
    height=SIDES,
    width=SIDES,
)
def test_mask2former_options(
    window: int, dim: int, layers: int, queries: int, batch: int, height: int, width: int
):
    config = test_mask2former.config(
        test_mask2former.swin_config(window),
        hidden_dim=dim,
        decoder_layers=layers,
        num_queries=queries,
    )
    check(Mask2FormerForUniversalSegmentation(config), batch, (height, width))


@FEW
@given(
    swin=st.booleans(),
    dim=st.sampled_from((32, 64)),
    layers=st.integers(1, 4),
    batch=st.integers(1, 2),
    height=SIDES,
    width=SIDES,
)
def test_maskformer_options(swin: bool, dim: int, layers: int, batch: int, height: int, width: int):
    backbone = test_maskformer.swin_config() if swin else test_maskformer.resnet_config()
    config = test_maskformer.config(
        backbone,
        decoder={"d_model": dim, "decoder_layers": layers},
    )
    check(MaskFormerForInstanceSegmentation(config), batch, (height, width))


@FEW
@given(
    swin=st.booleans(),
    norm=st.booleans(),
    auxiliary=st.booleans(),
    layers=st.integers(2, 5),
    batch=st.integers(1, 2),
    height=SIDES,
    width=SIDES,
)
def test_oneformer_options(
    swin: bool, norm: bool, auxiliary: bool, layers: int, batch: int, height: int, width: int
):
    config = test_oneformer.config(
        test_oneformer.swin() if swin else test_oneformer.resnet(),
        use_task_norm=norm,
        use_auxiliary_loss=auxiliary,
        decoder_layers=layers,
        is_training=False,
    )
    check(OneFormerForUniversalSegmentation(config), batch, (height, width))
