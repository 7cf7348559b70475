"""Stages add up to the whole; operations, bytes and memory are those of known work."""

from __future__ import annotations

import time
from typing import Any

import pytest
import torch
from tests.bench.small import FAMILIES, subject
from torch import Tensor, nn

from triptych.bench.walk import REST, Needs, Seconds, Work, laps_inside, walk
from triptych.image.preprocess import load_image

PARTS = {
    "segformer": ["backbone", "decoder"],
    "mask2former": ["backbone", "pixel decoder", "query decoder"],
    "maskformer": ["backbone", "pixel decoder", "query decoder"],
    "oneformer": ["backbone", "pixel decoder", "query decoder"],
}


class Order:
    """A meter that only writes down what it is told."""

    def __init__(self) -> None:
        self.stages: list[str] = []

    def begin(self) -> None:
        self.stages.append("begin")

    def lap(self, stage: str, *touched: Any) -> None:
        self.stages.append(stage)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_stage_comes_once_and_in_order(family: str) -> None:
    meter = Order()
    with subject(family) as one:
        walk(one, meter)
        # A second walk would tell of hooks that stayed.
        again = Order()
        walk(one, again)
    assert again.stages == meter.stages
    stages = [stage for stage in meter.stages if stage != REST]
    readings = ["semantic", "instances", "panoptic", "draw"]
    assert stages == ["begin", "decode", "preprocess", *PARTS[family], *readings]


class Sleeper(nn.Module):
    """Waits before and after its one part, which waits as well."""

    def __init__(self) -> None:
        super().__init__()
        self.slow_part = Slow()

    def forward(self, pixels: Tensor) -> Tensor:
        time.sleep(0.02)
        found = self.slow_part(pixels)
        time.sleep(0.02)
        return found


class Slow(nn.Module):
    def forward(self, pixels: Tensor) -> Tensor:
        time.sleep(0.1)
        return pixels


def test_time_goes_to_the_part_that_takes_it() -> None:
    model, meter = Sleeper(), Seconds(torch.device("cpu"))
    meter.begin()
    began = time.perf_counter()
    time.sleep(0.05)
    with laps_inside(model, meter):
        model(torch.zeros(1))
    meter.lap(REST)
    whole = time.perf_counter() - began
    spent = meter.spent
    assert spent.keys() == {"preprocess", "slow part", REST}
    assert spent["preprocess"] >= 0.05
    assert spent["slow part"] >= 0.1
    assert spent[REST] >= 0.04
    assert 0.19 <= sum(spent.values()) <= whole


def test_operations_and_bytes_are_those_of_the_work() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mix = nn.Linear(8, 16)
            self.look = Look()

        def forward(self, x: Tensor) -> Tensor:
            return self.look(self.mix(x))

    class Look(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return nn.functional.scaled_dot_product_attention(x, x, x)

    work = Work()
    with work, torch.inference_mode():
        work.begin()
        model = Two().requires_grad_(False)
        with laps_inside(model, work):
            model(torch.zeros(1, 2, 5, 8))
        work.lap(REST)
    assert work.operations["mix"] == 2 * 10 * 8 * 16
    assert work.operations["look"] == 2 * (2 * 2 * 5 * 5 * 16)
    assert work.operations[REST] == 0
    assert work.bytes["mix"] == 4 * (10 * 8 + 10 * 16 + 8 * 16 + 16)
    assert work.bytes["look"] == 4 * (10 * 16 + 10 * 16)


def test_the_floor_counts_picture_weights_and_masks() -> None:
    work = Work()
    with subject("mask2former") as one, work:
        walk(one, work)
    model = one.segmenter.model
    for part in PARTS["mask2former"]:
        weights = sum(p.numel() for p in model.get_submodule(part.replace(" ", "_")).parameters())
        assert work.operations[part] > 0
        assert work.bytes[part] > 4 * weights
    assert work.operations["decode"] == work.operations["draw"] == 0
    assert work.bytes["decode"] == work.bytes["draw"] == 0
    assert work.bytes["preprocess"] == 96 * 64 * 3 * (1 + 4)
    assert one.masks is not None
    assert one.masks.class_logits is not None
    read = 4 * (one.masks.mask_logits.numel() + one.masks.class_logits.numel())
    assert work.bytes["semantic"] == read + 8 * 96 * 64  # ids are int64
    assert work.bytes["panoptic"] == read + 4 * 96 * 64


def test_memory_goes_to_the_stage_that_needs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def greedy(file: Any) -> Tensor:
        torch.ones(16 << 20)  # 64 MiB, gone at once
        return load_image(file)

    monkeypatch.setattr("triptych.bench.walk.load_image", greedy)
    needs = Needs(torch.device("cpu"))
    with subject("segformer") as one:
        walk(one, needs)  # what libraries take once
        needs = Needs(torch.device("cpu"))
        walk(one, needs)
    if needs.needed["decode"] is None:
        pytest.skip("this system does not tell peaks of memory")
    assert needs.needed["decode"] >= 60 << 20
    assert all((size or 0) < 30 << 20 for stage, size in needs.needed.items() if stage != "decode")
