"""Beside transformers: the same weights, answers that agree, and ones that do not."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from tests.bench.small import FAMILIES, PEAKS, network, subject

from triptych.bench.beside import Agreement, compare_answers, theirs_of
from triptych.bench.measure import measure
from triptych.errors import TriptychError
from triptych.image.preprocess import load_image
from triptych.segmenter import load


@pytest.mark.parametrize("family", FAMILIES)
def test_both_sides_agree_and_are_timed(family: str) -> None:
    with subject(family) as one, theirs_of(one.segmenter, None) as theirs:
        report = measure(one, theirs, rounds=1, peaks=PEAKS)
    readings = ["semantic"] if family == "segformer" else ["semantic", "instances", "panoptic"]
    assert [pair.name for pair in report.beside] == ["forward", *readings]
    for pair in report.beside:
        assert pair.ratio.median == pytest.approx(pair.theirs.median / pair.ours.median)
    found = {agreement.what: agreement for agreement in report.agreements}
    assert report.agrees
    assert found["mask logits"].value < 1e-4
    assert found["semantic, ours"].value > 0.999
    assert found["semantic, transformers'"].value > 0.8
    if family != "segformer":
        assert found["class logits"].value < 1e-4
        assert found["panoptic, ours"].value > 0.999
        assert found["panoptic, transformers'"].value > 0.5
        assert found["instances, ours"].value > 0.999
        assert found["instances, transformers'"].value > 0.5


def test_other_weights_are_seen() -> None:
    with subject("segformer") as one, theirs_of(one.segmenter, None) as theirs:
        batch = one.segmenter.preprocess([load_image(one.file)])
        with torch.no_grad():
            # The last ones: a norm undoes what is done to the scale of the first.
            list(theirs.model.parameters())[-1].add_(0.5)
        found = compare_answers(one.segmenter, theirs, batch, None)
        logits = next(agreement for agreement in found if agreement.what == "mask logits")
        assert not logits.holds
        # Half the precision promises no agreement to the fourth digit.
        one.segmenter.autocast = torch.bfloat16
        found = compare_answers(one.segmenter, theirs, batch, None)
        assert all(agreement.limit is None for agreement in found)


def test_a_folder_of_theirs_is_taken_as_it_is(tmp_path: Path) -> None:
    network("segformer").save(tmp_path, format="transformers")
    with theirs_of(load(tmp_path, "cpu"), None) as theirs:
        assert theirs.model.config._name_or_path == str(tmp_path)


def test_limits_of_differences_and_shares() -> None:
    assert Agreement("x", "difference", 1e-5, 1e-4).holds
    assert not Agreement("x", "difference", 2e-4, 1e-4).holds
    assert not Agreement("x", "difference", float("nan"), 1e-4).holds
    assert Agreement("x", "share", 0.9995, 0.999).holds
    assert not Agreement("x", "share", 0.99, 0.999).holds
    assert Agreement("x", "share", 0.0).holds


def test_without_transformers_the_option_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with (
        pytest.raises(TriptychError, match="pip install transformers"),
        theirs_of(network("segformer"), None),
    ):
        pass


def test_a_network_that_they_do_not_have() -> None:
    segmenter = network("segformer")
    segmenter.family = None
    with (
        pytest.raises(TriptychError, match="transformers has no network like segformer"),
        theirs_of(segmenter, None),
    ):
        pass
