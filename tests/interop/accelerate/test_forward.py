"""The forward pass of an accelerated model: the same object, the same numbers, the same weights."""

from __future__ import annotations

import contextlib
import copy
import inspect
import io
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.interop.accelerate.small import make
from torch import Tensor

import triptych
from triptych.interop.accelerate.forward import Forward
from triptych.interop.accelerate.outputs import task_of
from triptych.interop.accelerate.uncovered import Uncovered
from triptych.networks.decoders.task import sentence


def inputs(model: Any, batch: int = 2, size: tuple[int, int] = (64, 96)) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    given = {"pixel_values": torch.randn(batch, 3, *size, generator=generator)}
    if model.config.model_type == "oneformer":
        given["task_inputs"] = sentence("semantic").expand(batch, -1)
    return given


def run(model: Any, given: dict[str, Any], **options: Any) -> Any:
    with torch.inference_mode():
        return model(**given, **options)


def close(ours: Any, theirs: Any) -> None:
    if isinstance(theirs, Tensor):
        assert ours.shape == theirs.shape
        assert ours.dtype == theirs.dtype
        assert (ours - theirs).abs().max() <= 1e-4 * theirs.abs().max()
    elif isinstance(theirs, dict):
        assert list(ours) == list(theirs)
        close(list(ours.values()), list(theirs.values()))
    else:
        assert len(ours) == len(theirs)
        for one, other in zip(ours, theirs, strict=True):
            close(one, other)


@pytest.fixture
def ours_alone(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], None]:
    """Makes their forward fail, so that what comes out is ours."""

    def forbid(model: Any) -> None:
        def fail(*args: Any, **kwargs: Any) -> Any:
            raise AssertionError("their forward ran")

        monkeypatch.setattr(type(model), "forward", fail)

    return forbid


@pytest.mark.parametrize("size", [(64, 96), (96, 64), (75, 101)])
def test_the_same_output(pair: Any, size: tuple[int, int], ours_alone: Any):
    model, _ = pair
    given = inputs(model, size=size)
    wanted = run(model, given)
    assert triptych.accelerate(model) is model
    ours_alone(model)
    found = run(model, given)
    assert type(found) is type(wanted)
    assert list(found) == list(wanted)
    for name, value in found.items():
        close(value, wanted[name])


def test_weights_are_shared(pair: Any, ours_alone: Any):
    model, _ = pair
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    triptych.accelerate(model)
    network = model.forward.shared.bind()
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, state[name])
    theirs = {t.untyped_storage().data_ptr() for t in model.state_dict().values()}
    ours = {t.untyped_storage().data_ptr() for t in network.state_dict().values()}
    assert ours <= theirs


def test_it_follows_weights_that_change(pair: Any):
    model, _ = pair
    triptych.accelerate(model)
    given = inputs(model)
    before = run(model, given)[0]
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.05)
    check_against_theirs(model, given)
    assert not torch.equal(run(model, given)[0], before)
    state = {
        name: tensor * 0.97 if tensor.is_floating_point() else tensor
        for name, tensor in model.state_dict().items()
    }
    model.load_state_dict(state, assign=True)
    check_against_theirs(model, given)
    model.double().float()
    check_against_theirs(model, given)


def check_against_theirs(model: Any, given: dict[str, Any]) -> None:
    found = run(model, given)
    forward = model.__dict__.pop("forward")
    wanted = run(model, given)
    model.__dict__["forward"] = forward
    for name, value in found.items():
        close(value, wanted[name])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_other_types(pair: Any, dtype: torch.dtype):
    model, _ = pair
    triptych.accelerate(model)
    exact = run(model, inputs(model))[0]
    model.to(dtype)
    given = inputs(model)
    given["pixel_values"] = given["pixel_values"].to(dtype)
    found = run(model, given)[0]
    assert found.dtype == dtype
    error = (found.double() - exact.double()).abs().max() / exact.abs().max()
    assert error < (0.3 if dtype == torch.bfloat16 else 1e-3)


def test_saved_as_theirs(pair: Any, tmp_path: Path):
    model, _ = pair
    model.save_pretrained(tmp_path / "before")
    triptych.accelerate(model)
    run(model, inputs(model))
    model.save_pretrained(tmp_path / "after")
    for file in sorted(path.name for path in (tmp_path / "before").iterdir()):
        before, after = (tmp_path / one / file for one in ("before", "after"))
        assert before.read_bytes() == after.read_bytes(), file
    again = type(model).from_pretrained(tmp_path / "after")
    close(run(again.eval(), inputs(model))[0], run(model, inputs(model))[0])


@pytest.mark.parametrize("way", ["pickle", "deepcopy"])
def test_copies_are_accelerated_and_independent(pair: Any, way: str):
    model, _ = pair
    if way == "pickle":
        with contextlib.suppress(AttributeError):
            torch.save(model, io.BytesIO())
            way = "possible"
        if way == "pickle":
            pytest.skip("their own model cannot be pickled: a backbone has a local hook")
    triptych.accelerate(model)
    given = inputs(model)
    wanted = run(model, given)[0]
    if way == "deepcopy":
        copied = copy.deepcopy(model)
    else:
        file = io.BytesIO()
        torch.save(model, file)
        file.seek(0)
        copied = torch.load(file, weights_only=False)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    assert copied.__dict__["forward"].model is copied
    assert torch.equal(run(copied, given)[0], wanted)


def test_the_context_undoes_it(pair: Any):
    model, processor = pair
    given, kind = inputs(model), type(processor)
    wanted = run(model, given)
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with triptych.accelerated(model, processor) as same:
        assert same is model
        assert isinstance(model.forward, Forward)
        assert type(processor) is not kind
    assert "forward" not in model.__dict__
    assert type(processor) is kind
    assert torch.equal(run(model, given)[0], wanted[0])
    storages = [t.untyped_storage() for t in model.parameters()]
    assert all(s.nbytes() == p.nbytes for s, p in zip(storages, model.parameters(), strict=True))
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())


def test_twice_is_as_once(pair: Any):
    model, processor = pair
    triptych.accelerate(model, processor)
    forward, kind = model.forward, type(processor).__mro__
    triptych.accelerate(model, processor)
    assert model.forward is forward
    assert len(type(processor).__mro__) == len(kind)
    with triptych.accelerated(model, processor):
        pass
    assert model.forward is forward
    assert len(type(processor).__mro__) == len(kind)


def test_its_arguments_can_be_looked_up(pair: Any):
    model, _ = pair
    wanted = inspect.signature(model.forward)
    triptych.accelerate(model)
    assert inspect.signature(model.forward) == wanted


THEIRS: dict[str, Callable[[Any, dict[str, Any]], Any]] = {
    "output_hidden_states is given": lambda m, g: run(m, g, output_hidden_states=True),
    "a tuple is wanted": lambda m, g: run(m, g, return_dict=False),
    "it trains": lambda m, g: run(m.train(), g),
    "gradients are on": lambda m, g: m(**g),
    "a hook is on": lambda m, g: hooked(m, g),
    "its configuration asks": lambda m, g: configured(m, g),
}


def hooked(model: Any, given: dict[str, Any]) -> Any:
    seen: list[Any] = []
    inner = next(one for one in model.modules() if isinstance(one, torch.nn.Conv2d))
    handle = inner.register_forward_hook(lambda *call: seen.append(call))
    found = run(model, given)
    handle.remove()
    assert seen
    return found


def configured(model: Any, given: dict[str, Any]) -> Any:
    model.config.output_hidden_states = True
    return run(model, given)


@pytest.mark.parametrize("reason", THEIRS)
def test_where_theirs_runs(pair: Any, reason: str, caplog: pytest.LogCaptureFixture):
    model, _ = pair
    given = inputs(model)
    torch.manual_seed(0)
    wanted = THEIRS[reason](copy.deepcopy(model), given)
    triptych.accelerate(model)
    caplog.set_level(logging.INFO, "triptych")
    torch.manual_seed(0)
    found = THEIRS[reason](model, given)
    assert any(reason in record.getMessage() for record in caplog.records)
    assert type(found) is type(wanted)
    assert len(found) == len(wanted)
    assert torch.equal(found[0], wanted[0])


def test_each_reason_is_told_once(caplog: pytest.LogCaptureFixture):
    model, _ = make("segformer")
    triptych.accelerate(model)
    caplog.set_level(logging.INFO, "triptych")
    for _ in range(3):
        run(model, inputs(model), output_hidden_states=True)
    assert len(caplog.records) == 1


def test_autocast():
    model, _ = make("mask2former-swin")
    triptych.accelerate(model)
    with torch.autocast("cpu", torch.bfloat16):
        found = run(model, inputs(model))
    assert found.masks_queries_logits.dtype == torch.bfloat16


def test_tasks():
    for name in ("semantic", "instance", "panoptic"):
        assert task_of(sentence(name)[None].float(), 1).name == name
    mixed = torch.stack([sentence("semantic"), sentence("panoptic")])
    for ids in (mixed, sentence("panoptic")[None] + 1, None, torch.zeros(1, 5)):
        with pytest.raises(Uncovered):
            task_of(ids, 2)


def test_the_loss_of_a_labeller(ours_alone: Any):
    model, _ = make("segformer")
    given = inputs(model)
    given["labels"] = torch.randint(5, (2, 64, 96), generator=torch.Generator().manual_seed(2))
    given["labels"][0, :9] = 255
    wanted = run(model, given)
    triptych.accelerate(model)
    ours_alone(model)
    found = run(model, given)
    assert list(found) == list(wanted)
    assert found.loss.item() == pytest.approx(wanted.loss.item(), rel=1e-5)


def test_losses_of_queries_are_theirs():
    model, _ = make("maskformer-swin")
    given: dict[str, Any] = dict(inputs(model))
    masks = [torch.zeros(2, 64, 96), torch.zeros(1, 64, 96)]
    for each in masks:
        each[:, 10:40, 20:60] = 1
    given |= {"mask_labels": masks, "class_labels": [torch.tensor([1, 3]), torch.tensor([0])]}
    wanted = run(model, given)
    triptych.accelerate(model)
    assert run(model, given).loss.item() == wanted.loss.item()


def test_several_threads_from_the_first_call_on():
    model, _ = make("oneformer")
    given = [inputs(model), inputs(model, size=(96, 64))] * 3
    triptych.accelerate(model)
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda each: run(model, each), given))
    for one, each in zip(found, given, strict=True):
        alone = run(model, each)
        for name in ("masks_queries_logits", "transformer_decoder_object_queries"):
            assert torch.equal(one[name], alone[name])


def test_earlier_predictions_are_a_sequence():
    model, _ = make("oneformer")
    wanted = run(model, inputs(model)).auxiliary_predictions
    triptych.accelerate(model)
    found = run(model, inputs(model)).auxiliary_predictions
    assert len(found) == len(wanted)
    close(found[-1], wanted[-1])
    close(found[1:], list(wanted[1:]))
    with pytest.raises(IndexError):
        found[len(wanted)]
    assert run(model, inputs(model), output_auxiliary_logits=False).auxiliary_predictions is None


def test_a_maskformer_with_auxiliary_losses_is_theirs():
    model, _ = make("maskformer-swin")
    model.config.use_auxiliary_loss = True
    given = inputs(model)
    wanted = run(model, given, output_hidden_states=True)
    triptych.accelerate(model)
    found = run(model, given, output_hidden_states=True)
    assert torch.equal(found.masks_queries_logits, wanted.masks_queries_logits)
    with pytest.raises(TypeError, match="stack"):  # without hidden states theirs does not work
        run(model, given)
