from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.train.tiny import TinyModel
from torch import nn

from triptych.errors import TriptychError
from triptych.train.checkpoint import CheckpointFolder, Position
from triptych.train.ema import ModelEMA
from triptych.train.optim import adamw
from triptych.train.recipe import OptimisationRecipe


class State:
    """A model that has learnt for a step, channels last as in the loop."""

    def __init__(self, seed: int) -> None:
        torch.manual_seed(seed)
        model: Any = TinyModel()
        self.model = model.to(memory_format=torch.channels_last)
        self.average = ModelEMA(self.model, 0.9)
        self.optimiser = adamw(self.model, OptimisationRecipe(steps=10))
        self.learn()

    def learn(self) -> None:
        torch.manual_seed(7)
        pixels = torch.rand(2, 3, 8, 8).contiguous(memory_format=torch.channels_last)
        self.model(pixels).mask_logits.square().mean().backward()
        self.optimiser.step()
        self.optimiser.zero_grad()
        self.average.update(self.model, 0)

    def everything(self) -> dict[str, torch.Tensor]:
        tensors = dict(self.model.state_dict(prefix="model."))
        tensors |= self.average.model.state_dict(prefix="average.")
        for number, state in enumerate(self.optimiser.state.values()):
            tensors |= {f"{number}.{part}": value for part, value in state.items()}
        return tensors

    def save(self, folder: CheckpointFolder, step: int):
        position = Position(step, 100 * step, "recipe text")
        return folder.save(position, self.model, self.average.model, self.optimiser)

    def load(self, folder: CheckpointFolder, said: list[str] | None = None) -> Position | None:
        return folder.load_newest(
            self.model,
            self.average.model,
            self.optimiser,
            say=(said if said is not None else []).append,
            check=lambda position: None,
        )


def test_restored_state_is_equal_and_goes_on_equal(tmp_path):
    folder = CheckpointFolder(tmp_path, 2)
    one, two = State(1), State(2)
    one.save(folder, 5)
    assert two.load(folder) == Position(5, 500, "recipe text")
    for _ in range(2):
        theirs = two.everything()
        for name, tensor in one.everything().items():
            assert torch.equal(tensor, theirs[name]), name
        one.learn()
        two.learn()


def test_optimiser_state_keeps_the_memory_layout_of_its_parameter(tmp_path):
    """The fused update walks both in memory order; a mixed-up layout would go unnoticed."""
    folder = CheckpointFolder(tmp_path, 2)
    state = State(1)
    state.save(folder, 5)
    state.load(folder)
    weight = state.model.backbone[0].weight
    assert weight.is_contiguous(memory_format=torch.channels_last)
    assert state.optimiser.state[weight]["exp_avg"].stride() == weight.stride()


def test_newest_two_are_kept_by_number_not_by_name(tmp_path):
    folder = CheckpointFolder(tmp_path, 2)
    state = State(1)
    for step in (5, 99999999, 100000000):
        state.save(folder, step)
    assert [int(path.stem.split("-")[1]) for path in folder.paths()] == [100000000, 99999999]


def test_empty_or_missing_folder_holds_nothing(tmp_path):
    assert State(1).load(CheckpointFolder(tmp_path, 2)) is None
    assert State(1).load(CheckpointFolder(tmp_path / "none", 2)) is None


@pytest.mark.parametrize("damage", ["cut", "empty", "header", "foreign"])
def test_damaged_newest_is_told_and_the_one_before_taken(tmp_path, damage):
    folder = CheckpointFolder(tmp_path, 3)
    state = State(1)
    state.save(folder, 5)
    newest = state.save(folder, 6)
    data = newest.read_bytes()
    newest.write_bytes(
        {
            "cut": data[: len(data) // 2],
            "empty": b"",
            "header": b"\xff" * 8 + data[8:],
            "foreign": data.replace(b"triptych-training-1", b"triptych-training-9"),
        }[damage]
    )
    said: list[str] = []
    position = state.load(folder, said)
    assert position is not None
    assert position.step == 5
    assert len(said) == 1
    assert str(newest) in said[0]


def test_only_damaged_files_are_no_fresh_start(tmp_path):
    """Starting afresh would silently throw hours away."""
    (tmp_path / "step-00000005.safetensors").write_bytes(b"")
    with pytest.raises(TriptychError, match="none of the 1 checkpoints"):
        State(1).load(CheckpointFolder(tmp_path, 2))


def test_another_network_is_told_in_one_line(tmp_path):
    folder = CheckpointFolder(tmp_path, 2)
    state = State(1)
    state.save(folder, 5)
    state.model.head = nn.Conv2d(8, 5, 1)
    with pytest.raises(TriptychError, match="holds another network") as error:
        state.load(folder)
    assert "\n" not in str(error.value)


def test_tied_weights_are_written(tmp_path):
    folder = CheckpointFolder(tmp_path, 2)
    model: Any = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model[1].weight = model[0].weight
    optimiser = adamw(model, OptimisationRecipe(steps=10))
    average = ModelEMA(model, 0.9).model
    folder.save(Position(1, 0, ""), model, average, optimiser)
    before = model[1].weight.detach().clone()
    with torch.no_grad():
        model[0].weight.zero_()
    folder.load_newest(model, average, optimiser, say=print, check=lambda position: None)
    assert torch.equal(model[0].weight, before)


def test_failed_write_keeps_the_old_checkpoints_and_leaves_no_rubbish(tmp_path, monkeypatch):
    folder = CheckpointFolder(tmp_path, 1)
    state = State(1)
    state.save(folder, 5)

    def full_disk(tensors, path, metadata):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("triptych.train.checkpoint.save_file", full_disk)
    with pytest.raises(TriptychError, match=r"step-00000006\.safetensors: No space left"):
        state.save(folder, 6)
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000005.safetensors"]


def test_leftovers_of_a_killed_writer_are_removed(tmp_path):
    folder = CheckpointFolder(tmp_path, 2)
    State(1).save(folder, 5)
    (tmp_path / ".step-00000006.0123abcd.tmp.safetensors").write_bytes(b"half")
    folder.remove_leftovers()
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000005.safetensors"]
