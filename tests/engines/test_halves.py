"""The two halves of a network on every engine: one encoding, asked often, with named tensors."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.engines.test_engines import needs, small
from tests.tiny_model import ClickModel, TaskModel, click_segmenter

from triptych.engines.eager import Eager
from triptych.engines.graph import (
    GraphEngine,
    differences,
    filled_up,
    graph_prompts,
    largest_difference,
    trace,
)
from triptych.engines.openvino import shared_core
from triptych.engines.parts import Part, decoding, encoding, outputs_of, whole
from triptych.engines.registry import make_engine
from triptych.errors import TriptychError
from triptych.networks.contract import Prompts, Task, features_of, tensors_of
from triptych.networks.decoders.pixel import PixelFeatures
from triptych.segmenter import Segmenter

PIXELS = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))
GRAPHS = ("onnx", "openvino")


@pytest.mark.parametrize("engine", GRAPHS)
@pytest.mark.parametrize(
    "family",
    [
        "segformer",
        *(pytest.param(f, marks=pytest.mark.slow) for f in ("maskformer", "mask2former")),
    ],
)
def test_closed_networks_give_in_two_halves_what_they_give_whole(family: str, engine: str) -> None:
    needs(engine)
    model = small(family)
    ours, eager = make_engine(engine, model), Eager(model)
    features, wanted = ours.encode(PIXELS), eager.encode(PIXELS)
    assert type(features) is type(wanted)
    for name, tensor in tensors_of(wanted).items():
        assert largest_difference(tensors_of(features)[name], tensor) < 1e-3, name
    for given in (features, wanted):
        assert max(differences(ours.decode(given), eager(PIXELS)).values()) < 1e-3


@pytest.mark.parametrize("family", ["segformer", "maskformer", "mask2former"])
def test_eagers_halves_are_the_whole_to_the_last_bit(family: str) -> None:
    eager = Eager(small(family))
    halves, one_go = eager.decode(eager.encode(PIXELS)), eager(PIXELS)
    for name, tensor in outputs_of(one_go).items():
        assert torch.equal(outputs_of(halves)[name], tensor), name


@pytest.mark.parametrize("engine", ["compile", *GRAPHS])
def test_every_task_has_its_answer(engine: str) -> None:
    needs(engine)
    model = TaskModel().eval()
    ours, eager = make_engine(engine, model), Eager(model)
    pixels = torch.rand(2, 3, 16, 24)
    for name in ("semantic", "instance", "panoptic"):
        wanted = eager(pixels, None, Task(name))
        for found in (ours(pixels, None, Task(name)), ours.decode(ours.encode(pixels), Task(name))):
            assert max(differences(found, wanted).values()) < 1e-4
    assert max(differences(ours(pixels), eager(pixels)).values()) < 1e-4


@pytest.mark.parametrize("engine", ["compile", *GRAPHS])
def test_any_number_of_prompts_has_its_answers(engine: str) -> None:
    needs(engine)
    model = ClickModel().eval()
    ours, eager = make_engine(engine, model), Eager(model)
    features = ours.encode(torch.rand(1, 3, 32, 32))
    points = torch.rand(9, 2, 2) * 32
    labels = torch.ones(9, 2, dtype=torch.long)
    for ask in (
        Prompts(points[:1], labels[:1]),
        Prompts(points[:3], labels[:3]),
        Prompts(points, labels, multimask=False),
        Prompts(boxes=torch.tensor([[2.0, 3.0, 20.0, 30.0]] * 2)),
        Prompts(points[:2], labels[:2], masks=torch.rand(2, 1, 8, 8)),
    ):
        found, wanted = ours.decode(features, ask), eager.decode(features, ask)
        assert max(differences(found, wanted).values()) < 1e-4
        assert found.prompt is not None
        assert wanted.prompt is not None
        assert found.prompt.tolist() == wanted.prompt.tolist()
        assert outputs_of(found)["quality"].shape == outputs_of(wanted)["quality"].shape


def test_a_few_sizes_of_graphs_serve_all_numbers_of_prompts() -> None:
    rooms = [graph_prompts(count) for count in (1, 2, 8, 9, 64, 65, 200)]
    assert rooms == [1, 8, 8, 64, 64, 128, 256]
    ask = filled_up(Prompts(torch.rand(3, 2, 2), torch.ones(3, 2, dtype=torch.long)))
    assert len(ask) == 8
    assert ask.points is not None
    assert torch.equal(ask.points[2:], ask.points[2:3].expand(6, 2, 2))
    parts = {
        decoding(TaskModel().encode(PIXELS), filled_up(Prompts(torch.rand(n, 1, 2), None)))[0]
        for n in (2, 5, 8)
    }
    assert len(parts) == 1


def test_a_part_is_told_by_its_name_and_shapes() -> None:
    features = PixelFeatures(torch.zeros(1, 8, 4, 4), (torch.zeros(1, 8, 2, 2), torch.zeros(1)))
    part, inputs = decoding(features, Task("instance"))
    assert part.name == "decode-instance"
    assert [one.name for one in part.inputs] == ["mask_features", "memory.0", "memory.1"]
    assert len(inputs) == 3
    again = features_of(PixelFeatures, tensors_of(features))
    assert again.mask_features is features.mask_features
    assert [a is b for a, b in zip(again.memory, features.memory, strict=True)] == [True, True]
    for one in (part, whole((4, 8)), encoding((8, 4)), decoding(features, Prompts())[0]):
        shapes = {name: shape for name, shape in one.inputs}
        assert Part.named(one.name, shapes) == one
    for name in ("halve", "decode-everything"):
        with pytest.raises(ValueError, match="no part of a network"):
            Part.named(name, {})


@pytest.mark.parametrize("engine", GRAPHS)
def test_graphs_have_named_inputs_and_outputs(engine: str, tmp_path: Path) -> None:
    needs(engine)
    model = ClickModel().eval()
    ours = make_engine(engine, model)
    assert isinstance(ours, GraphEngine)
    ask = Prompts(torch.rand(1, 1, 2), torch.ones(1, 1, dtype=torch.long))
    features = Eager(model).encode(torch.rand(1, 3, 32, 32))
    traced = trace(model, decoding(features, ask)[0])
    file = tmp_path / f"graph{ours.suffix}"
    ours.write(traced, file)
    inputs, outputs = names_in(engine, file)
    assert outputs == ["mask_logits", "quality"]
    # What a network has no use for may be gone.
    assert set(inputs) <= {"colours", "levels.0", "points", "labels"}
    assert {"points"} <= set(inputs)


def names_in(engine: str, file: Path) -> tuple[list[str], list[str]]:
    if engine == "onnx":
        import onnx

        found = onnx.load(file).graph
        return [i.name for i in found.input], [o.name for o in found.output]
    model = shared_core().read_model(file)
    return [i.any_name for i in model.inputs], [o.any_name for o in model.outputs]


def test_an_encoded_image_is_asked_by_graphs_too() -> None:
    needs("openvino")
    eager = click_segmenter()
    other = Segmenter(eager.model, eager.preprocess, eager.classes, engine="openvino")
    picture = torch.randint(0, 256, (64, 64, 3), dtype=torch.uint8)
    ours, theirs = other.encode(picture), eager.encode(picture)
    for ask in ({"points": [[30, 20]]}, {"points": [[[30, 20]], [[1, 2], [3, 4]]]}):
        a, b = ours(**ask), theirs(**ask)
        torch.testing.assert_close(a.mask_logits, b.mask_logits, rtol=1e-4, atol=1e-4)
        assert a.prompt is not None
        assert b.prompt is not None
        assert a.prompt.tolist() == b.prompt.tolist()


def test_a_network_in_one_piece_has_no_halves() -> None:
    class Whole(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(1))

    for engine in ("compile", "onnx"):
        needs(engine)
        with pytest.raises(TriptychError, match="Whole has no encode and decode; derive it from"):
            make_engine(engine, Whole()).encode(PIXELS)
