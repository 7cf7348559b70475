"""Small networks for tests of everything around the network."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from triptych.classes import Classes
from triptych.errors import TriptychError
from triptych.image.preprocess import Preprocess
from triptych.networks.contract import Ask, EncoderDecoder, Prediction, Prompts, Task
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


class Seen(NamedTuple):
    """What the two networks below keep of a picture."""

    colours: Tensor
    levels: tuple[Tensor, ...]


class TaskModel(EncoderDecoder):
    """:class:`ColourModel` in two halves, which sees red, green or blue alone as it is told."""

    competition = "independent"
    size_divisor = 4
    asks = frozenset({Task})
    features_type = Seen

    def __init__(self) -> None:
        super().__init__()
        self.colours = ColourModel()
        self.encoded = 0

    def encode(self, pixels: Tensor) -> Seen:
        self.encoded += 1
        return Seen(F.avg_pool2d(pixels, 4) - 0.5, (pixels.mean((2, 3)),))

    def decode(self, features: Seen, ask: Ask | None = None) -> Prediction:
        task = ask.name if isinstance(ask, Task) else "panoptic"
        only = torch.zeros(3, device=features.colours.device)
        only[["semantic", "instance", "panoptic"].index(task)] = 1
        masks = self.colours.gain * features.colours + 80 * (only[:, None, None] - 1)
        classes = self.colours.class_logits.expand(len(masks), -1, -1)
        return Prediction.from_logits(masks, classes)


class ClickModel(EncoderDecoder):
    """Finds a disc around the first point of the object, or what fills a box.

    The three answers to a prompt have 1, 2 and 3 times the radius; the second is the best. The
    quality is less by a hundredth for each further point, and by the mask prompt's mean.
    """

    competition = "independent"
    size_divisor = 4
    asks = frozenset({Prompts})
    features_type = Seen

    def __init__(self) -> None:
        super().__init__()
        self.radius = nn.Parameter(torch.full((1,), 6.0))
        self.asked: list[Prompts] = []

    def encode(self, pixels: Tensor) -> Seen:
        return Seen(F.avg_pool2d(pixels, 4), (pixels,))

    def decode(self, features: Seen, ask: Ask | None = None) -> Prediction:
        if not isinstance(ask, Prompts):
            raise TriptychError("this network needs a prompt")
        self.asked.append(ask)
        height, width = features.colours.shape[-2:]
        y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        here = torch.stack((x, y), -1) * 4.0 + 2
        if ask.points is not None:
            apart = (here - ask.points[:, 0, None, None]).norm(dim=-1)[:, None]
            masks = self.radius * torch.tensor([1.0, 2.0, 3.0])[:, None, None] - apart
            assert ask.labels is not None
            fewer = 0.01 * ((ask.labels >= 0).sum(1, keepdim=True) - 1)
        else:
            assert ask.boxes is not None
            corner, end = ask.boxes[:, None, None, :2], ask.boxes[:, None, None, 2:]
            masks = torch.minimum(here - corner, end - here).amin(-1)[:, None].expand(-1, 3, -1, -1)
            fewer = torch.zeros(1)
        quality = torch.tensor([0.6, 0.9, 0.7]).expand(len(ask), 3) - fewer
        if ask.masks is not None:
            quality = quality - ask.masks.mean((1, 2, 3)).tanh().abs()[:, None] / 10
        if not ask.multimask:
            masks, quality = masks[:, 1:2], quality[:, 1:2]
        numbers = torch.arange(len(ask)).repeat_interleave(masks.shape[1])
        return Prediction.from_logits(
            masks.flatten(0, 1)[None], None, quality=quality.reshape(1, -1), prompt=numbers
        )


def click_segmenter() -> Segmenter:
    return Segmenter(ClickModel(), Preprocess(longest_edge=64), Classes.of(["object"], ["object"]))


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
