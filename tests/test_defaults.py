"""torch's global defaults belong to the program around us: whatever they are, nothing changes."""

from __future__ import annotations

import ast
import functools
import gc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.networks.models.test_registry import CLASSES, SMALL, UNASKED
from tests.test_project import PACKAGE

from triptych import Windows, load
from triptych.bench.madeup import made_up_masks
from triptych.data.targets import Targets
from triptych.image.preprocess import Preprocess
from triptych.networks.models.registry import build
from triptych.segmenter import Segmenter
from triptych.train.criterion import SetCriterion
from triptych.train.labelling import LabellingCriterion
from triptych.train.matcher import Matcher

CPU = torch.device("cpu")
FACTORIES = {
    *("arange", "empty", "eye", "full", "linspace", "ones", "rand", "randint", "randn"),
    *("randperm", "tensor", "zeros", "as_tensor", "asarray", "scalar_tensor"),
}


def factories(module: ast.Module) -> Iterator[ast.Call]:
    """Calls that make a tensor, but for parameters: those are as the other layers around them."""
    calls = [node for node in ast.walk(module) if isinstance(node, ast.Call)]
    parameters = {id(arg) for c in calls if ast.unparse(c.func) == "nn.Parameter" for arg in c.args}
    for call in calls:
        library, _, name = ast.unparse(call.func).partition(".")
        if library == "torch" and name in FACTORIES and id(call) not in parameters:
            yield call


def test_every_factory_names_its_type_and_its_device() -> None:
    checked, leaving = 0, []
    for file in sorted(PACKAGE.rglob("*.py")):
        for call in factories(ast.parse(file.read_text(encoding="utf-8"))):
            checked += 1
            named = {keyword.arg for keyword in call.keywords}
            if None not in named and not named >= {"dtype", "device"}:  # None: **plain
                leaving.append(f"{file.relative_to(PACKAGE)}:{call.lineno}")
    assert checked > 50
    assert leaving == []


def forget() -> None:
    """Empty the package's caches, so that each run makes what it needs."""
    for found in gc.get_objects():
        # By its type: isinstance would ask objects that warn when they are looked at.
        if type(found) is functools._lru_cache_wrapper and found.__module__.startswith("triptych"):
            found.cache_clear()


@pytest.fixture(params=["float64", "bfloat16", "meta"])
def hostile(request: pytest.FixtureRequest) -> Iterator[Callable[[], None]]:
    """Sets a default that nobody would want."""

    def spoil() -> None:
        forget()
        if request.param == "meta":
            torch.set_default_device("meta")
        else:
            torch.set_default_dtype(getattr(torch, request.param))

    yield spoil
    restore()


def restore() -> None:
    torch.set_default_dtype(torch.float32)
    torch.set_default_device(None)


def check_same(hostile: Callable[[], None], run: Callable[[], dict[str, Any]]) -> None:
    """The same under a hostile default, and after it with the caches that it left behind."""
    forget()
    wanted = run()
    hostile()
    try:
        spoilt = run()
    finally:
        restore()
    for found in (spoilt, run()):
        assert found.keys() == wanted.keys()
        for name, value in wanted.items():
            if isinstance(value, torch.Tensor):
                assert found[name].dtype == value.dtype, name
                assert found[name].device == value.device, name
                assert torch.equal(found[name], value), name
            else:
                assert found[name] == value, name


def read(masks: Any) -> dict[str, Any]:
    return {
        "semantic": masks.semantic().ids,
        "panoptic": masks.panoptic(0.1, 0.5).ids,
        "segments": masks.panoptic(0.1, 0.5).segments,
        "instances": [(i.class_id, i.score, i.box) for i in masks.instances(0.1)],
    }


def test_the_bundled_checkpoint(hostile: Callable[[], None], tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (150, 230, 3), dtype=np.uint8)

    def run() -> dict[str, Any]:
        segmenter = load("street", "cpu")
        masks = segmenter(picture)
        segmenter.save(tmp_path)
        made_up = made_up_masks(masks)
        parts = {
            "": masks,
            "made up ": made_up,
            "windows ": segmenter(picture, windows=Windows(128, 32)),
        }
        found = {what + name: v for what, set_ in parts.items() for name, v in read(set_).items()}
        return found | {
            "masks": masks.mask_logits,
            "made up": made_up.mask_logits,
            "explanation": str(made_up.explain()),
            "overlay": np.asarray(masks.overlay(picture)).tobytes(),
        }

    check_same(hostile, run)


def targets() -> list[Targets]:
    semantic = torch.zeros((64, 96), dtype=torch.long, device=CPU)
    semantic[20:40, 30:60] = 1
    masks = torch.stack((semantic == 0, semantic == 1))
    return [
        Targets(
            class_ids=torch.tensor([0, 1], dtype=torch.long, device=CPU),
            masks=masks,
            semantic=semantic,
            ambiguous=masks[:0],
            ambiguous_class_ids=torch.zeros(0, dtype=torch.long, device=CPU),
        )
    ]


@pytest.mark.parametrize("family", UNASKED)
def test_a_family_is_built_trained_saved_and_loaded(
    family: str, hostile: Callable[[], None], tmp_path: Path
) -> None:
    arguments = {"classes": len(CLASSES), **SMALL[family]}
    if family == "mask2former":
        arguments |= {"backbone": "swin_tiny", "anchors": 5, "annealing": [0, 3]}
    picture = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)

    def run() -> dict[str, Any]:
        torch.manual_seed(0)
        model: Any = build(family, **arguments).train()
        pixels = Preprocess()([torch.from_numpy(picture)]).pixels
        criterion: Any = LabellingCriterion(class_weights=(1.0, 0.3, 0.7))
        if model.competition == "independent":
            criterion = SetCriterion(Matcher(points=50), semantic=1.0, ambiguous=0.3, points=50)
        loss = sum(criterion(model(pixels), targets()).values())
        loss.backward()
        gradients = {name: p.grad for name, p in model.named_parameters()}
        segmenter = Segmenter(model, Preprocess(), CLASSES, family=family, arguments=arguments)
        segmenter.save(tmp_path / "ours")
        found = read(load(tmp_path / "ours", "cpu")(picture))
        if family == "segformer":
            segmenter.save(tmp_path / "theirs", format="transformers")
            found["theirs"] = load(tmp_path / "theirs", "cpu")(picture).mask_logits
        return {"loss": loss.detach(), **gradients, **model.state_dict(), **found}

    check_same(hostile, run)
