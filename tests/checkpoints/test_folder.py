"""Checkpoint folders that are damaged, foreign or hostile, and how weights reach memory."""

from __future__ import annotations

import dataclasses
import json
import pickle
import stat
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.networks.models.test_registry import SMALL
from tests.tiny_model import tiny_segformer
from torch import nn

from triptych.checkpoints.bundled import bundled
from triptych.checkpoints.folder import ModelConfig, read_config, read_folder, write_folder
from triptych.classes import Classes
from triptych.errors import TriptychError
from triptych.image.preprocess import Preprocess
from triptych.networks.models.registry import build
from triptych.readings.settings import ReadingSettings


@pytest.fixture
def folder(tmp_path) -> Path:
    tiny_segformer().save(tmp_path / "model")
    return tmp_path / "model"


def refused(folder: Path) -> str:
    with pytest.raises(TriptychError) as caught:
        read_folder(folder)
    message = str(caught.value)
    assert "\n" not in message
    assert str(folder) in message
    return message


def edit(folder: Path, **changes: object) -> None:
    config = json.loads((folder / "config.json").read_text())
    for name, value in changes.items():
        if value is None:
            config.pop(name, None)
        else:
            config[name] = value
    (folder / "config.json").write_text(json.dumps(config))


class TestConfig:
    def test_missing(self, folder):
        (folder / "config.json").unlink()
        assert "holds no config.json" in refused(folder)

    @pytest.mark.parametrize(
        ("content", "words"),
        [
            (b"", "is damaged"),
            (b'{"format": "triptych"', "is damaged"),
            (b"\xff\xfe\x00", "is damaged"),
            (b"[1, 2]", "is not a Triptych config"),
            (b"{}", "is not a Triptych config"),
        ],
    )
    def test_something_else(self, folder, content, words):
        (folder / "config.json").write_bytes(content)
        assert words in refused(folder)

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"version": 2}, "has version 2"),
            ({"family": None}, "'family' is missing"),
            ({"family": 3}, "'family' is not a str"),
            ({"family": "yolo"}, "'yolo'"),
            ({"colour": "blue"}, "unknown entry 'colour'"),
            ({"arguments": {"classes": 4, "sise": "b0"}}, "sise"),
            ({"arguments": {"classes": 4, "size": "b9"}}, "'b9'"),
            ({"arguments": {"classes": 4, "channels": "wide"}}, "describes no possible network"),
            ({"arguments": {"classes": 7}}, "4 classes are listed, but arguments ask for 7"),
            ({"classes": [{"title": "sky"}]}, "classes"),
            ({"preprocess": {"shortest_edge": -1}}, "shortest_edge is -1"),
            ({"readings": None, "panoptic": "yes"}, "'panoptic' is not a bool"),
            ({"readings": None, "overlap": "half"}, "'overlap' is not a float"),
            ({"readings": None, "overlap": 1.5}, "overlap is 1.5; give a number from 0 to 1"),
            ({"readings": {"overlap": "half"}}, "readings: overlap is 'half'; give a float"),
            ({"readings": {"overlap": 1.5}}, "overlap is 1.5; give a number from 0 to 1"),
            ({"readings": {"threshold": 0.5}}, "unknown setting 'threshold'; there are instance_"),
            ({"readings": {"segment_pixels": "all"}}, "segment_pixels is 'all'; use kept or won"),
        ],
    )
    def test_wrong_entries_are_named(self, folder, changes, words):
        edit(folder, **changes)
        assert words in refused(folder)

    def test_entries_with_a_default_may_be_left_out(self, folder):
        edit(folder, notes=None, readings=None, panoptic=None, overlap=None)
        config = read_config(folder)
        assert config.readings == ReadingSettings()
        assert config.notes == {}

    def test_how_it_was_trained_as_triptych_0_1_wrote_it(self, folder):
        recipe = {"optimisation": {"steps": 3}}
        edit(folder, training=None, notes={"recipe": recipe, "trained_steps": 3, "by": "me"})
        config = read_config(folder)
        assert config.training == {"recipe": recipe, "steps": 3}
        assert config.notes == {"by": "me"}

    def test_settings_as_triptych_0_1_wrote_them(self, folder):
        edit(folder, readings=None, panoptic=False, overlap=0.5)
        expected = ReadingSettings(things_only=False, overlap=0.5)
        assert read_config(folder).readings == expected

    def test_a_maskformer_of_triptych_0_1_has_the_rules_of_its_family(self, folder):
        arguments = {"classes": 4, "backbone": "efficientnet_lite0"}
        edit(folder, readings=None, family="maskformer", arguments=arguments)
        assert read_config(folder).readings == ReadingSettings(segment_pixels="won")


class TestWeights:
    def test_missing(self, folder):
        (folder / "model.safetensors").unlink()
        assert "holds no model.safetensors" in refused(folder)

    def test_pickled_weights_are_told_apart_and_not_opened(self, folder):
        class Trap:
            def __reduce__(self):
                return (Path.touch, (folder / "sprung",))

        (folder / "model.safetensors").unlink()
        (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Trap()))
        assert "pytorch_model.bin is not read" in refused(folder)
        # The same under the name that is read.
        (folder / "pytorch_model.bin").rename(folder / "model.safetensors")
        assert "refused, and nothing was run" in refused(folder)
        assert not (folder / "sprung").exists()

    @pytest.mark.parametrize("share", [0, 0.001, 0.5, 0.999])
    def test_truncated(self, folder, share):
        path = folder / "model.safetensors"
        data = path.read_bytes()
        path.write_bytes(data[: int(share * len(data))])
        assert ("is truncated" if share else "is empty") in refused(folder)

    def test_a_folder_in_its_place(self, folder):
        (folder / "model.safetensors").unlink()
        (folder / "model.safetensors").mkdir()
        assert "cannot be read" in refused(folder)

    def test_foreign_names_and_shapes_are_told(self, folder):
        path = folder / "model.safetensors"
        state = load_file(path)
        name, *others = sorted(state)
        state["stranger.weight"] = state.pop(name)
        state[others[0]] = torch.zeros(3, 7)
        save_file(state, path)
        message = refused(folder)
        assert f"1 missing ({name})" in message
        assert "1 unknown (stranger.weight)" in message
        assert f"1 of another shape ({others[0]} (3, 7) for " in message

    def test_of_many_wrong_names_a_few_are_told(self, folder):
        save_file({f"w{i}": torch.zeros(1) for i in range(30)}, folder / "model.safetensors")
        assert "30 unknown (w0, w1, w10, w11 and 26 more)" in refused(folder)

    def test_values_that_are_not_finite_are_not_saved(self, folder, tmp_path):
        model, config = read_folder(folder)
        state = dict(model.state_dict())
        name = next(iter(state))
        state[name] = torch.full_like(state[name], 1e5)
        with pytest.raises(TriptychError, match=f"{name} holds values not finite in float16"):
            write_folder(tmp_path / "new", config, state, torch.float16)
        assert not (tmp_path / "new" / "model.safetensors").exists()

    def test_an_unwritable_folder(self, folder, tmp_path):
        model, config = read_folder(folder)
        (tmp_path / "file").touch()
        with pytest.raises(TriptychError, match="cannot write"):
            write_folder(tmp_path / "file", config, model.state_dict())

    def test_others_may_read_the_file(self, folder):
        modes = [
            stat.S_IMODE((folder / n).stat().st_mode) for n in ("config.json", "model.safetensors")
        ]
        assert modes[0] == modes[1]


class Odd(nn.Module):
    """Everything that can go wrong when parameters start without memory."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(4, classes)
        self.norm = nn.BatchNorm2d(4)
        self.attention = nn.MultiheadAttention(4, 2)
        self.table = nn.Parameter(torch.empty(3, 4))
        self.frozen = nn.Parameter(torch.empty(2), requires_grad=False)
        self.register_buffer("computed", torch.linspace(0, 1, 5), persistent=False)
        self.computed: torch.Tensor
        nn.init.trunc_normal_(self.table, std=0.02)
        nn.init.xavier_uniform_(self.linear.weight)
        nn.init.ones_(self.linear.bias)
        with torch.no_grad():
            self.frozen.copy_(torch.tensor([1.0, 2.0]))
            self.table[1:].fill_(3)


class TestMemory:
    def test_every_tensor_is_real_and_equal(self, folder, monkeypatch, tmp_path):
        before = Odd(4)
        config = dataclasses.replace(read_config(folder), arguments={"classes": 4})
        monkeypatch.setattr("triptych.checkpoints.skeleton.build", lambda family, **kw: Odd(**kw))
        write_folder(tmp_path / "odd", config, before.state_dict())
        after, _ = read_folder(tmp_path / "odd")
        assert isinstance(after, Odd)
        for name, tensor in before.state_dict().items():
            assert torch.equal(after.state_dict()[name], tensor)
            assert after.state_dict()[name].dtype == tensor.dtype
        assert torch.equal(after.computed, torch.linspace(0, 1, 5))
        assert not after.frozen.requires_grad
        assert after.table.requires_grad

    def test_the_weights_stay_in_the_file_and_chance_is_not_consumed(self, folder, monkeypatch):
        seen: dict[str, bool] = {}

        def build(family, **arguments):
            from triptych.networks.models.registry import build

            model = build(family, **arguments)
            seen.update({name: p.is_meta for name, p in model.named_parameters()})
            return model

        monkeypatch.setattr("triptych.checkpoints.skeleton.build", build)
        state = torch.random.get_rng_state()
        read_folder(folder)
        assert all(seen.values())
        assert torch.equal(torch.random.get_rng_state(), state)
        torch.nn.Linear(2, 2)
        assert not torch.nn.Linear(2, 2).weight.is_meta


@pytest.mark.parametrize("name", bundled())
def test_bundled_checkpoints_load(name):
    model, config = read_folder(bundled()[name])
    assert config.classes.thing_ids
    assert all(torch.isfinite(p).all() for p in model.parameters())


def test_a_checkpoint_of_before_has_todays_names(tmp_path):
    arguments = {"classes": 3, **SMALL["mask2former"], "annealing": [2, 6]}
    made: Any = build("mask2former", **arguments, nms=0.5)
    made.query_decoder.annealing.set_step(5)
    classes = Classes.of(["road", "car", "sky"], things=["car"])
    config = ModelConfig("mask2former", {**arguments, "suppression": 0.5}, classes, Preprocess())
    state = {name.replace(".annealing.", ".fading."): t for name, t in made.state_dict().items()}
    assert any("fading" in name for name in state)
    write_folder(tmp_path, config, state)
    model: Any
    model, read = read_folder(tmp_path)
    assert read.arguments["nms"] == model.query_decoder.nms == 0.5
    assert "suppression" not in read.arguments
    assert int(model.query_decoder.annealing.seen) == 5
