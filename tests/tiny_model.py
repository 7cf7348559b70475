"""Small networks for tests of everything around the network."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from triptych.classes import Classes
from triptych.image.preprocess import Preprocess
from triptych.networks.contract import Prediction
from triptych.networks.models.registry import build
from triptych.segmenter import Segmenter

COLOURS = Classes.of(["red", "green", "blue"], things=["red", "green"])


class ColourModel(nn.Module):
    """Three queries that see red, green and blue: what it finds in a picture is plain to see."""

    competition = "independent"
    size_divisor = 4

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.full((1,), 40.0))
        self.class_logits = nn.Parameter(12 * torch.eye(classes, classes + 1))
        self.batches: list[tuple[int, ...]] = []

    def forward(self, pixels: Tensor) -> Prediction:
        self.batches.append(tuple(pixels.shape))
        masks = self.gain * (F.avg_pool2d(pixels, 4) - 0.5)
        return Prediction.from_logits(masks, self.class_logits.expand(len(pixels), -1, -1))


def colour_segmenter(model: nn.Module | None = None, **preprocess: Any) -> Segmenter:
    plain: dict[str, Any] = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}
    settings = Preprocess(**(plain | preprocess))
    return Segmenter(model or ColourModel(), settings, COLOURS, name="colours", family="colours")


def tiny_segformer() -> Segmenter:
    arguments = {
        "classes": 4,
        "channels": [8, 8, 16, 16],
        "depths": [1, 1, 1, 1],
        "heads": [1, 1, 2, 2],
        "decoder_dim": 8,
    }
    return Segmenter(
        build("segformer", **arguments),
        Preprocess(shortest_edge=64, longest_edge=128),
        Classes.of(["sky", "road", "tree", "car"], things=["car"]),
        name="tiny",
        family="segformer",
        arguments=arguments,
        notes={"trained": False},
    )
