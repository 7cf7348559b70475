"""Code that stays with transformers, before and after ``triptych.accelerate``, in turns.

    python benchmarks/accelerated.py --rounds 9 [--image PHOTO] [--threads 2]

From a PIL image to the result of ``pipeline("image-segmentation")``, preprocessing included, for
networks in full size with random weights, whose class scores are spread so that queries pass the
threshold; and the three ``post_process_*`` functions alone, at 2048x1024 with 100 queries and 133
classes, on masks like those of objects. Both sides hold the same weights, results are compared, and
every round runs both, so that a busy moment hits both.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
import transformers
from PIL import Image
from torch import Tensor

import triptych
from triptych.bench.rounds import Spread, in_turns
from triptych.image.preprocess import load_image
from triptych.interop.accelerate.processors import give, their_readings

STAGES = ["stage1", "stage2", "stage3", "stage4"]


def photograph(path: str | None, width: int, height: int) -> Image.Image:
    if path is not None:
        return Image.fromarray(load_image(path).numpy()).resize((width, height))
    y, x = np.mgrid[:height, :width]
    rows = np.stack((x * 255 // width, y * 255 // height, (x * y) // 700 % 256), axis=2)
    return Image.fromarray(rows.astype(np.uint8))


def mask2former() -> tuple[Any, Any]:
    """Swin-T, 133 classes; a quarter of the queries pass the threshold, as in photographs."""
    config = transformers.Mask2FormerConfig(
        backbone_config=transformers.SwinConfig(out_features=STAGES), num_labels=133
    )
    model = transformers.Mask2FormerForUniversalSegmentation(config).eval()
    decoder = model.model.transformer_module
    with torch.no_grad():
        # As they start, all queries say the same.
        for weight in decoder.parameters():
            weight.add_(0.05 * torch.randn_like(weight))
        model.class_predictor.weight.normal_(std=0.3)
        for weight in decoder.decoder.mask_predictor.mask_embedder.get_submodule("2").parameters():
            weight.mul_(10)
    processor = transformers.Mask2FormerImageProcessorPil(size={"height": 640, "width": 640})
    return model, processor


def segformer() -> tuple[Any, Any]:
    """B0, 150 classes, as for ADE20K, of which a dozen or so are seen."""
    model = transformers.SegformerForSemanticSegmentation(
        transformers.SegformerConfig(num_labels=150)
    ).eval()
    with torch.no_grad():
        model.decode_head.classifier.weight.mul_(4)
        model.decode_head.classifier.bias.normal_(std=0.2)
    return model, transformers.SegformerImageProcessorPil()


def piped(pair: tuple[Any, Any]) -> Callable[..., Any]:
    model, processor = pair
    made = transformers.pipeline("image-segmentation", model=model, image_processor=processor)
    return lambda image, **options: made(image, **options)


def disks(count: int, grid: tuple[int, int], generator: torch.Generator) -> Tensor:
    """Masks like objects: disks with wavy borders, sure inside and outside."""
    height, width = grid
    y, x = torch.arange(height).view(-1, 1) / height, torch.arange(width) / width
    found = []
    for _ in range(count):
        down, across, radius = torch.rand(3, generator=generator)
        distance = ((y - down) ** 2 + (x - across) ** 2).sqrt()
        waves = F.interpolate(
            torch.randn(1, 1, 16, 32, generator=generator), size=grid, mode="bicubic"
        )
        found.append((0.05 + 0.25 * radius - distance) * 60 + waves[0, 0])
    return torch.stack(found)


def street() -> SimpleNamespace:
    """Outputs for an input of 2048x1024: 100 queries, of which 30 are sure of an object."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randn(1, 100, 134, generator=generator)
    named = torch.randint(133, (100,), generator=generator)
    labels[0, torch.arange(100), named] += 8
    labels[0, 30:, -1] += 14
    return SimpleNamespace(
        class_queries_logits=labels, masks_queries_logits=disks(100, (256, 512), generator)[None]
    )


def tell(name: str, before: list[float], after: list[float]) -> None:
    ratio = Spread.of([one / other for one, other in zip(before, after, strict=True)])
    theirs, ours = Spread.of(before), Spread.of(after)
    print(
        f"{name:44} {theirs.median * 1e3:8.0f} ms {ours.median * 1e3:8.0f} ms "
        f"{ratio.median:6.2f}x ({ratio.low:.2f} to {ratio.high:.2f})",
        flush=True,
    )


def same(ours: Any, theirs: Any) -> float:
    """Share of pixels that are equal in what two pipelines found, if they found the same things."""
    assert [one["label"] for one in ours] == [one["label"] for one in theirs], "other segments"
    shares = [
        (np.asarray(one["mask"]) == np.asarray(other["mask"])).mean()
        for one, other in zip(ours, theirs, strict=True)
    ]
    return float(min(shares, default=1.0))


def pipelines(name: str, pair: tuple[Any, Any], image: Image.Image, rounds: int, **options: Any):
    theirs = piped(copy.deepcopy(pair))
    triptych.accelerate(*pair)
    ours = piped(pair)
    found = ours(image, **options)
    share = same(found, theirs(image, **options))
    seconds = in_turns(
        {"theirs": lambda: theirs(image, **options), "ours": lambda: ours(image, **options)},
        range(rounds),
        torch.device("cpu"),
    )
    tell(f"{name}, {image.width}x{image.height}", seconds["theirs"], seconds["ours"])
    print(f"{'':44} {len(found)} segments, {share:.2%} of the pixels equal in the worst")


@torch.inference_mode()
def readings(rounds: int) -> None:
    outputs, size = street(), [(1024, 2048)]
    theirs = transformers.Mask2FormerImageProcessorPil()
    ours = transformers.Mask2FormerImageProcessorPil()
    give(ours, their_readings(ours))
    stuff = set(range(80, 133))
    calls: dict[str, Callable[[Any], Any]] = {
        "semantic": lambda p: p.post_process_semantic_segmentation(outputs, size),
        "instance": lambda p: p.post_process_instance_segmentation(outputs, target_sizes=size),
        "panoptic": lambda p: p.post_process_panoptic_segmentation(
            outputs, threshold=0.8, label_ids_to_fuse=stuff, target_sizes=size
        ),
    }
    sums = [0.0] * rounds, [0.0] * rounds
    for name, call in calls.items():
        mine, other = call(ours)[0], call(theirs)[0]
        if isinstance(mine, dict):
            assert mine["segments_info"] == other["segments_info"]
            mine, other = mine["segmentation"], other["segmentation"]
        assert torch.equal(mine, other)
        seconds = in_turns(
            {"theirs": lambda call=call: call(theirs), "ours": lambda call=call: call(ours)},
            range(rounds),
            torch.device("cpu"),
        )
        tell(f"post_process_{name}, 2048x1024", seconds["theirs"], seconds["ours"])
        for total, one in zip(sums, (seconds["theirs"], seconds["ours"]), strict=True):
            total[:] = [a + b for a, b in zip(total, one, strict=True)]
    tell("all three, equal to the bit", *sums)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--image", help="a photograph in place of a made-up picture")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    transformers.utils.logging.set_verbosity_error()
    torch.manual_seed(0)
    version = transformers.__version__
    print(f"transformers {version}, {options.threads} threads, {options.rounds} rounds")
    print(f"{'':44} {'before':>11} {'after':>11}  paired ratio (quartiles)")
    readings(options.rounds)
    image = photograph(options.image, 640, 640)
    pipelines(
        "pipeline, Mask2Former Swin-T, panoptic",
        mask2former(),
        image,
        options.rounds,
        subtask="panoptic",
        threshold=0.5,
        overlap_mask_area_threshold=0.1,
    )
    pipelines("pipeline, SegFormer-B0, semantic", segformer(), image, options.rounds)


if __name__ == "__main__":
    main()
