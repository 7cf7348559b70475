from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from triptych.classes import Classes
from triptych.commands.pictures import SECONDS, run_demo
from triptych.errors import TriptychError
from triptych.image.preprocess import Preprocess
from triptych.networks.models.registry import build
from triptych.segmenter import Segmenter

if importlib.util.find_spec("skvideo") is None:
    pytest.skip("scikit-video is not installed (extra: demo)", allow_module_level=True)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A tiny network that has learnt nothing: the demonstration must not depend on that."""
    arguments = {"classes": 2, "channels": [8] * 4, "depths": [1] * 4, "heads": [1] * 4}
    folder = tmp_path_factory.mktemp("model")
    Segmenter(
        build("segformer", **arguments),
        Preprocess(shortest_edge=96),
        Classes.of(["road", "car"], things=["car"]),
        family="segformer",
        arguments=arguments,
    ).save(folder)
    return str(folder)


def test_three_frames_and_one_picture_of_them_all(model: str, tmp_path: Path) -> None:
    for _ in range(2):  # a second run replaces the first
        picture = run_demo(tmp_path, model)
    frames = sorted((tmp_path / "frames").iterdir())
    assert len(frames) == len(SECONDS) == 3
    whole = np.asarray(Image.open(picture))
    overlays = [np.asarray(Image.open(tmp_path / f"{f.stem}.overlay.png")) for f in frames]
    np.testing.assert_array_equal(whole, np.concatenate(overlays))
    found = json.loads((tmp_path / f"{frames[0].stem}.json").read_text())
    assert found["image"] == f"frames/{frames[0].name}"
    assert found["size"] == {"height": 272, "width": 640}


def test_a_missing_checkpoint_is_named_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(TriptychError, match="no model 'nowhere'"):
        run_demo(tmp_path / "out", "nowhere")
    assert not (tmp_path / "out").exists()
