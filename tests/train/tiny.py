"""A network, losses and samples small enough to train in a second; also a program to be killed.

Run as a program, it trains them from a JSON description: ``tiny.py '{"out": ..., ...}'``.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import Dataset

from triptych.config import Document, build
from triptych.data.targets import Targets
from triptych.networks.contract import Prediction
from triptych.train.loop import run
from triptych.train.parts import Parts
from triptych.train.processes import choose_device, joined
from triptych.train.recipe import Recipe

CLASSES = 3


class TinyModel(nn.Module):
    """A pixel labeller with every kind of parameter that the optimiser tells apart."""

    competition = "softmax"
    size_divisor = 4

    def __init__(self, dropout: float = 0.1, norm: str = "batch") -> None:
        super().__init__()
        normalise = nn.BatchNorm2d(8) if norm == "batch" else nn.GroupNorm(2, 8)
        self.backbone = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), normalise, nn.GELU())
        self.position = nn.Embedding(1, 8)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Conv2d(8, CLASSES, 1)
        self.unused = nn.Linear(2, 2)  # no loss reaches it: DDP and the optimiser must cope

    def forward(self, pixels: Tensor) -> Prediction:
        x = self.backbone(pixels) + self.position.weight.view(1, 8, 1, 1)
        return Prediction.from_logits(self.head(self.dropout(x)), None)


class TinyCriterion(nn.Module):
    """Cross-entropy at full resolution, and a term called ``poison`` that is not a number."""

    def __init__(self, poison: str = "", delay: float = 0.0) -> None:
        super().__init__()
        self.poison, self.delay = poison, delay

    def forward(self, prediction, targets, mean_over_processes=float) -> dict[str, Tensor]:
        time.sleep(self.delay)
        truth = torch.stack([target.semantic for target in targets])
        logits = F.interpolate(prediction.mask_logits.float(), size=truth.shape[-2:])
        images = mean_over_processes(len(targets))
        each = F.cross_entropy(logits, truth, reduction="none").mean((1, 2))
        losses = {"semantic": each.sum() / images, "size": 1e-3 * logits.square().mean()}
        if self.poison:
            losses[self.poison] = losses["size"] * float("nan")
        return losses


class TinyData(Dataset):
    """Random pictures whose label is their brightest channel."""

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def __getitem__(self, index: int):
        generator = torch.Generator().manual_seed(self.seed * 100003 + index)
        coarse = torch.randint(0, 256, (3, 2, 2), generator=generator).to(torch.uint8)
        pixels = coarse.repeat_interleave(4, 1).repeat_interleave(4, 2)
        none = torch.zeros(0, dtype=torch.int64)
        empty = torch.zeros(0, 8, 8, dtype=torch.bool)
        targets = Targets(none, empty, pixels.long().argmax(0), empty, none)
        return pixels, targets, f"tiny-{index}"


def collate(samples):
    pixels, targets, names = zip(*samples, strict=True)
    return torch.stack(pixels), list(targets), list(names)


def tiny_recipe(**sections) -> Recipe:
    values: dict[str, Any] = {
        "model": {"family": "tiny"},
        "optimisation": {
            "steps": 12,
            "batch_size": 4,
            "learning_rate": 0.01,
            "warmup_steps": 2,
            "gradient_clip": 1.0,
            "precision": "fp32",
            "device": "cpu",
            "ema_decay": 0.9,
        },
        "data": {"workers": 0},
        "logging": {"seconds": 1000},
        "checkpoint": {"seconds": None},
    }
    for name, section in sections.items():
        values[name] = values.get(name, {}) | section if isinstance(section, dict) else section
    return build(Recipe, Document("tiny", values))


def tiny_parts(*, norm: str = "batch", dropout: float = 0.1, evaluate=None, export=None, **loss):
    torch.manual_seed(0)
    model = TinyModel(dropout, norm)
    return Parts(model, TinyCriterion(**loss), TinyData(), collate, evaluate, export)


def save_weights(model: nn.Module, folder: Path, step: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(model.state_dict(), folder / "weights.pt")


def main(settings: dict) -> None:
    torch.set_num_threads(1)
    recipe = tiny_recipe(**settings.get("recipe", {}))
    with joined(choose_device("cpu")) as group:
        parts = tiny_parts(export=save_weights, **settings.get("parts", {}))
        reason = run(
            recipe, parts, Path(settings["out"]), resume=settings.get("resume", False), group=group
        )
        del parts
    sys.exit(128 + reason if reason > 1 else 0)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
