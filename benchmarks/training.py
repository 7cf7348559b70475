"""One training step beside transformers': the same weights, pictures, objects and optimiser.

    python benchmarks/training.py --rounds 5
    python benchmarks/training.py --rounds 5 --precision bf16 --against-precision bf16
    python benchmarks/training.py --rounds 5 --precision bf16 --checkpointing

A step is: forward, matching and losses of every layer, backward, clipped gradient, AdamW. Both
networks are Mask2Former Swin-T with 133 classes, random weights and no dropout; objects are made
up. The sums of the losses before the first step are printed: they differ only by the points that
each side draws at random, so they tell whether both do the same work. Time and memory are taken in
turns in one process; peak memory is what a step needs beyond weights, gradients and the
optimiser's averages, which are the same for both (Linux only).
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from triptych.bench.memory import Peak
from triptych.classes import Classes
from triptych.data.targets import Targets
from triptych.image.preprocess import Preprocess
from triptych.networks.models.registry import build
from triptych.segmenter import Segmenter
from triptych.train.criterion import SetCriterion
from triptych.train.matcher import Matcher
from triptych.train.step import LossModule
from triptych.truth import IGNORE

CLASSES = 133
ARGUMENTS: dict[str, Any] = {
    "classes": CLASSES,
    "backbone": "swin_tiny",
    "backbone_arguments": {"drop_path": 0.0},
}
AUTOCAST = {"fp32": None, "bf16": torch.bfloat16}
CLIP = 0.01  # the gradient's norm, as in the paper's code


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--objects", type=int, default=10, help="of one picture")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--precision", choices=AUTOCAST, default="fp32", help="ours")
    parser.add_argument("--against-precision", choices=AUTOCAST, default="fp32", help="theirs")
    parser.add_argument("--checkpointing", action="store_true", help="ours: compute maps twice")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.manual_seed(0)
    device = torch.device(options.device)
    ours_in, theirs_in = AUTOCAST[options.precision], AUTOCAST[options.against_precision]
    pixels = torch.randint(256, (options.batch, 3, options.size, options.size), dtype=torch.uint8)
    pixels = pixels.to(device)
    targets = [made_up(options.objects, options.size, device) for _ in range(options.batch)]

    ours, theirs = networks(device)
    steps = {
        "triptych": our_step(ours, pixels, targets, ours_in, options.checkpointing),
        "transformers": their_step(theirs, pixels, targets, theirs_in),
    }
    peaks: dict[str, list[int]] = {name: [] for name in steps}
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(options.rounds + 1):
        for name, step in steps.items():
            peak = Peak(device)
            peak.begin()
            began = time.perf_counter()
            loss = step()
            took = time.perf_counter() - began
            if turn:  # the first warms up, and makes the optimiser's averages
                seconds[name].append(took)
                peaks[name].append(peak.bytes() or 0)
            else:
                print(f"{name:12} loss {loss:.2f}")
    for name in steps:
        print(
            f"{name:12} {statistics.median(seconds[name]):6.2f} s a step, "
            f"{statistics.median(peaks[name]) / 2**20:6.0f} MiB"
        )
    pairs = list(zip(seconds["transformers"], seconds["triptych"], strict=True))
    ratio = statistics.median(theirs / ours for theirs, ours in pairs)
    share = statistics.median(peaks["triptych"]) / statistics.median(peaks["transformers"])
    print(
        f"{ratio:.2f} times as fast, {share:.0%} of the memory; {options.size}x{options.size}, "
        f"batch {options.batch}, {options.precision} against {options.against_precision}, "
        f"{torch.get_num_threads()} threads, "
        f"median of {options.rounds} rounds"
    )


def made_up(objects: int, size: int, device: torch.device) -> Targets:
    """Rectangles that do not overlap, later ones in front, on unlabelled ground."""
    semantic = torch.full((size, size), IGNORE)
    owner = torch.full((size, size), -1)
    class_ids = torch.randint(CLASSES, (objects,))
    for number in range(objects):
        height, width = (int(x) for x in torch.randint(size // 8, size // 2, (2,)))
        top, left = (int(torch.randint(size - x, (1,))) for x in (height, width))
        owner[top : top + height, left : left + width] = number
        semantic[top : top + height, left : left + width] = class_ids[number]
    masks = torch.stack([owner == number for number in range(objects)])
    shown = masks.flatten(1).any(1)
    nothing = torch.zeros(0, size, size, dtype=torch.bool)
    return Targets(
        class_ids[shown].to(device),
        masks[shown].to(device),
        semantic.to(device),
        nothing.to(device),
        torch.zeros(0, dtype=torch.int64, device=device),
        # Everything is known, as transformers takes it: what is no object is background.
        void=torch.zeros(size, size, dtype=torch.bool, device=device),
    )


def networks(device: torch.device) -> tuple[nn.Module, nn.Module]:
    """Ours and theirs, with the same random weights."""
    from transformers import Mask2FormerForUniversalSegmentation

    network = build("mask2former", **ARGUMENTS)
    names = [str(number) for number in range(CLASSES)]
    segmenter = Segmenter(
        network,
        Preprocess(pad=False),
        Classes.of(names, things=names),
        family="mask2former",
        arguments=ARGUMENTS,
    )
    with tempfile.TemporaryDirectory() as folder:
        segmenter.save(Path(folder), format="transformers")
        theirs = Mask2FormerForUniversalSegmentation.from_pretrained(folder)
    return network.to(device).train(), theirs.to(device).train()


def our_step(
    network: nn.Module,
    pixels: Tensor,
    targets: list[Targets],
    autocast: torch.dtype | None,
    checkpointing: bool,
) -> Callable[[], float]:
    losses = LossModule(
        network,
        SetCriterion(Matcher(points=12544), points=12544),
        mean=(0.5, 0.5, 0.5),
        std=(0.25, 0.25, 0.25),
        autocast=autocast,
        checkpointing=checkpointing,
    )
    return update(network, lambda: torch.stack([*losses(pixels, targets).values()]).sum())


def their_step(
    network: Any, pixels: Tensor, targets: list[Targets], autocast: torch.dtype | None
) -> Callable[[], float]:
    inputs = (pixels.float() / 255 - 0.5) / 0.25
    mask_labels = [target.masks.float() for target in targets]
    class_labels = [target.class_ids for target in targets]

    def loss() -> Tensor:
        with torch.autocast(pixels.device.type, autocast, autocast is not None):
            found = network(
                pixel_values=inputs, mask_labels=mask_labels, class_labels=class_labels
            ).loss
        assert isinstance(found, Tensor)
        return found.sum()

    return update(network, loss)


def update(network: nn.Module, loss: Callable[[], Tensor]) -> Callable[[], float]:
    """The rest of the step, the same for both sides."""
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-5, fused=True)

    def step() -> float:
        total = loss()
        total.backward()
        nn.utils.clip_grad_norm_(network.parameters(), CLIP)
        optimiser.step()
        optimiser.zero_grad(set_to_none=False)  # so that gradients are no part of the peak
        return float(total.detach())

    return step


if __name__ == "__main__":
    main()
