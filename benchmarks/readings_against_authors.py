"""The readings beside the inference functions of the authors, run on the same tensors.

    git clone https://github.com/facebookresearch/Mask2Former    # and MaskFormer, detectron2,
    git clone https://github.com/NVlabs/SegFormer                # into one folder
    python benchmarks/readings_against_authors.py --authors FOLDER IMAGES...

Nothing of their packages is imported, for most do not install without CUDA: the functions are
taken out of their files and run as they stand, ``forward`` of MaskFormer and Mask2Former and
``inference`` of SegFormer's EncoderDecoder, with a network in place of theirs that answers with
the tensors at hand. Mask sets: what ``street`` finds in the first images, small random networks of
every family on the others, and made-up ones (noise, faint, one query, ties). A pixel may differ
only where two values are equal but for the last digits.
"""

from __future__ import annotations

import argparse
import ast
import dataclasses
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

import triptych
from triptych.checkpoints.names.registry import family
from triptych.classes import Classes
from triptych.image.find import find_images
from triptych.image.geometry import Geometry
from triptych.image.preprocess import Preprocess
from triptych.mask_set import MaskSet
from triptych.networks.models.registry import build
from triptych.segmenter import Segmenter

TIE = 3e-6
"""Values that are closer than this, beside the larger one, may be ordered either way."""

FILES = {
    "mask2former": "Mask2Former/mask2former/maskformer_model.py",
    "maskformer": "MaskFormer/mask_former/mask_former_model.py",
    "postprocess": "detectron2/detectron2/modeling/postprocessing.py",
    "segformer": "SegFormer/mmseg/models/segmentors/encoder_decoder.py",
    "resize": "SegFormer/mmseg/ops/wrappers.py",
}

NAMES = [f"class {index}" for index in range(12)]
CLASSES = Classes.of(NAMES, things=NAMES[::2])


def functions(folder: Path, key: str, **known: Any) -> dict[str, Any]:
    """All functions and methods of one of their files, by name, with ``known`` in sight."""
    tree = ast.parse((folder / FILES[key]).read_text())
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    for node in nodes:
        node.decorator_list = []
        node.returns = None
        for argument in [*node.args.args, *node.args.kwonlyargs]:
            argument.annotation = None
    scope: dict[str, Any] = {"torch": torch, "F": F, **known}
    exec(compile(ast.Module(nodes, []), str(folder / FILES[key]), "exec"), scope)
    return scope


class Authors:
    """Their readings of a mask set."""

    def __init__(self, folder: Path) -> None:
        postprocess = functions(folder, "postprocess", Instances=object, ROIMasks=object)
        images = SimpleNamespace(from_tensors=self._padded)
        known = {
            "ImageList": images,
            "sem_seg_postprocess": postprocess["sem_seg_postprocess"],
            "retry_if_cuda_oom": lambda work: work,
            "Instances": lambda size: SimpleNamespace(),
            "Boxes": lambda boxes: boxes,
        }
        self.queries = {name: functions(folder, name, **known) for name in FILES if "mask" in name}
        resize = functions(folder, "resize")["resize"]
        self.labeller = functions(folder, "segformer", resize=resize)
        self._input_size = (0, 0)

    def _padded(self, images: list[Tensor], divisibility: int) -> SimpleNamespace:
        sizes = [tuple(image.shape[-2:]) for image in images]
        return SimpleNamespace(tensor=torch.zeros(1, 3, *self._input_size), image_sizes=sizes)

    def read(self, masks: MaskSet, name: str, task: str) -> dict[str, Any]:
        """``sem_seg``, ``panoptic_seg`` and ``instances``, as far as ``task`` has them."""
        geometry, settings = masks.geometry, masks.readings
        height, width = geometry.image_size
        if name == "segformer":
            return {"sem_seg": self._label(masks)}
        scope = self.queries[name]
        outputs = {"pred_logits": masks.class_logits[None], "pred_masks": masks.mask_logits[None]}
        head = _Head(outputs, len(masks.classes))
        things = {str(label): label for label in masks.classes.thing_ids}
        panoptic, instance = task == "panoptic", task in ("panoptic", "instance")
        model = SimpleNamespace(
            device="cpu",
            pixel_mean=0.0,
            pixel_std=1.0,
            size_divisibility=32,
            backbone=lambda pixels: None,
            sem_seg_head=head,
            training=False,
            semantic_on=True,
            panoptic_on=panoptic,
            instance_on=instance,
            # As their from_config has it.
            sem_seg_postprocess_before_inference=panoptic or instance,
            object_mask_threshold=settings.panoptic_threshold,
            overlap_threshold=settings.overlap,
            num_queries=len(masks),
            test_topk_per_image=min(settings.top, len(masks) * len(masks.classes)),
            metadata=SimpleNamespace(thing_dataset_id_to_contiguous_id=things),
        )
        for method in ("semantic_inference", "panoptic_inference", "instance_inference"):
            if method in scope:
                setattr(model, method, _bound(scope[method], model))
        self._input_size = geometry.input_size
        image = torch.zeros(3, *geometry.valid_size)
        return scope["forward"](model, [{"image": image, "height": height, "width": width}])[0]

    def _label(self, masks: MaskSet) -> Tensor:
        height, width = masks.geometry.input_size
        model = SimpleNamespace(
            test_cfg=SimpleNamespace(mode="whole"),
            align_corners=False,
            extract_feat=lambda image: None,
            _decode_head_forward_test=lambda features, meta: masks.mask_logits[None],
        )
        for method in ("encode_decode", "whole_inference"):
            setattr(model, method, _bound(self.labeller[method], model))
        meta = [{"ori_shape": masks.geometry.image_size, "flip": False}]
        return self.labeller["inference"](model, torch.zeros(1, 3, height, width), meta, True)[0]


class _Head:
    def __init__(self, outputs: dict[str, Tensor], classes: int) -> None:
        self.outputs, self.num_classes = outputs, classes

    def __call__(self, features: None) -> dict[str, Tensor]:
        return dict(self.outputs)


def _bound(function: Any, model: Any) -> Any:
    return lambda *values, **named: function(model, *values, **named)


def close(one: Tensor, other: Tensor) -> Tensor:
    return (one - other).abs() <= TIE * torch.maximum(one.abs(), other.abs()) + 1e-30


def semantic_faults(masks: MaskSet, theirs: Tensor) -> tuple[int, int]:
    """Pixels that differ, and those of them that are no ties."""
    ours = masks.semantic().ids
    best = theirs.argmax(0)
    tied = close(theirs.gather(0, ours[None]), theirs.gather(0, best[None]))[0]
    return int((ours != best).sum()), int(((ours != best) & ~tied).sum())


def panoptic_faults(masks: MaskSet, theirs: tuple[Tensor, list[Any]]) -> tuple[int, int]:
    ours = masks.panoptic()
    differs = ours.ids != theirs[0]
    kinds = [(s.class_id, s.is_thing) for s in ours.segments]
    other = [(s["category_id"], s["isthing"]) for s in theirs[1]]
    if kinds != other:
        return int(differs.sum()), max(int(differs.sum()), 1)
    return int(differs.sum()), int((differs & ~ties(masks)).sum())


def ties(masks: MaskSet) -> Tensor:
    """``(H, W)`` bool: two queries win all but equally, or a mask is one half."""
    geometry = masks.geometry
    height, width = geometry.valid_size
    logits = F.interpolate(masks.mask_logits[None], geometry.input_size, mode="bilinear")
    logits = F.interpolate(logits[:, :, :height, :width], geometry.image_size, mode="bilinear")[0]
    scores = masks.class_logits.softmax(1)[:, :-1].amax(1)
    if len(masks) == 1:
        return logits[0].abs() < 1e-4
    first, second = (logits.sigmoid() * scores[:, None, None]).topk(2, dim=0).values
    return close(first, second) | (logits.abs() < 1e-4).any(0)


def instance_faults(masks: MaskSet, theirs: Any) -> tuple[int, int]:
    """Objects that differ: another class, another score, or another pixel that is no tie."""
    ours = masks.instances(threshold=0.0)
    found = [
        (float(score), int(label), mask > 0)
        for score, label, mask in zip(
            theirs.scores, theirs.pred_classes, theirs.pred_masks, strict=True
        )
        if mask.any()
    ]
    free, faults = list(range(len(found))), abs(len(ours) - len(found))
    tied = ties(masks)
    for one in ours:
        for at in free:
            score, label, mask = found[at]
            differs = mask != one.mask
            margin = 1e-5 + float(differs.sum() / mask.sum())  # of what a tie does to the mean
            same = label == one.class_id and abs(score - one.score) < margin
            if same and not (differs & ~tied).any():
                free.remove(at)
                break
        else:
            faults += 1
    return faults, faults


def small_networks() -> Iterator[tuple[str, str, Segmenter]]:
    """A random network of each family and task: name of the family, task, network."""
    sizes: dict[str, dict[str, Any]] = {
        "segformer": {"channels": [8] * 4, "depths": [1] * 4, "heads": [1] * 4, "decoder_dim": 16},
        "maskformer": {"backbone": "efficientnet_lite0", "queries": 20},
        "mask2former": {"backbone": "efficientnet_lite0", "queries": 20},
    }
    for name, arguments in sizes.items():
        for task in ["semantic"] if name == "segformer" else ["panoptic", "semantic", "instance"]:
            if (name, task) == ("maskformer", "instance"):
                continue  # their code has no such reading
            torch.manual_seed(len(task))
            model = build(name, classes=len(CLASSES), **arguments)
            for parameter in model.parameters():  # so that masks and classes vary
                if parameter.dim() > 1:
                    parameter.data.mul_(1.6)
            settings = family(name).readings.replace(
                semantic_resize="scores" if task == "semantic" else None,
                things_only=task != "instance",
                panoptic_threshold=0.2,
                overlap=0.5,
            )
            # SegFormer's own pipeline does not pad, and so would not cut the padding off.
            preprocess = Preprocess(shortest_edge=160, longest_edge=320, pad=name != "segformer")
            yield name, task, Segmenter(model, preprocess, CLASSES, settings)


def made_up() -> Iterator[tuple[str, str, str, MaskSet]]:
    """Title, family, task and mask set."""
    random = torch.Generator().manual_seed(0)
    geometry = Geometry((128, 160), (120, 160), (180, 240))

    def normal(*size: int) -> Tensor:
        return torch.randn(size, generator=random)

    coarse = F.interpolate(normal(1, 30, 5, 6), (32, 40), mode="bicubic")[0]
    mixed = 4 * normal(30, len(CLASSES) + 1)
    kinds = {
        "white noise": (4 * normal(30, 32, 40), mixed),
        "smooth": (6 * coarse, mixed),
        "all faint": (coarse - 4, mixed),
        "all faint, flat classes": (0.3 * coarse - 1, 0.1 * mixed),
        "one query": (6 * coarse[:1], mixed[:1]),
        "ties": ((6 * coarse[:10]).repeat(3, 1, 1).round(), mixed[:10].repeat(3, 1).round()),
        "nothing": (torch.full((30, 32, 40), -9.0), mixed),
    }
    for title, (logits, classes) in kinds.items():
        for name in ("maskformer", "mask2former"):
            for task in ("panoptic", "semantic"):
                settings = family(name).readings.replace(
                    semantic_resize="scores" if task == "semantic" else None,
                    panoptic_threshold=0.3,
                    overlap=0.6,
                    top=len(logits) * len(CLASSES),  # of equal scores, no choice is the right one
                )
                masks = MaskSet(logits, classes, CLASSES, geometry, readings=settings)
                yield title, name, task, masks


def on_images(patterns: list[str], count: int) -> Iterator[tuple[str, str, str, MaskSet]]:
    sources, problems = find_images(patterns)
    if problems:
        raise SystemExit("\n".join(problems))
    paths = [source.path for source in sources]
    street = triptych.load("street", device="cpu")
    for overlap in (0.8, 0.5):
        for path in paths[:: max(len(paths) // count, 1)][:count]:
            masks = street(path)
            settings = masks.readings.replace(overlap=overlap)
            read = dataclasses.replace(masks, readings=settings)
            yield f"street, overlap {overlap}", "mask2former", "panoptic", read
    for name, task, network in small_networks():
        for path in paths[:: max(2 * len(paths) // count, 1)][: count // 2]:
            yield f"random {name}, {task}", name, task, network(path)


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", nargs="+", help="files, folders or patterns")
    parser.add_argument("--authors", type=Path, required=True, help="folder with their clones")
    parser.add_argument("--count", type=int, default=20, help="images for street")
    options = parser.parse_args()
    for clone in sorted({Path(file).parts[0] for file in FILES.values()}):
        where = str(options.authors / clone)
        commit = subprocess.check_output(["git", "-C", where, "rev-parse", "HEAD"], text=True)
        print(f"{clone} {commit.strip()}")
    authors, table = Authors(options.authors), dict[str, Counter[str]]()
    for title, name, task, masks in [*made_up(), *on_images(options.images, options.count)]:
        row = table.setdefault(f"{title}: {name}, {task}", Counter())
        row["sets"] += 1
        row["pixels"] += masks.geometry.image_size[0] * masks.geometry.image_size[1]
        with torch.no_grad():
            theirs = authors.read(masks, name, task)
        found = {"semantic": semantic_faults(masks, theirs["sem_seg"])}
        if "panoptic_seg" in theirs:
            found["panoptic"] = panoptic_faults(masks, theirs["panoptic_seg"])
            row["segments"] += len(theirs["panoptic_seg"][1])
        if "instances" in theirs:
            found["instances"] = instance_faults(masks, theirs["instances"])
            row["objects"] += len(masks.instances(threshold=0.0))
        for reading, (differ, faults) in found.items():
            row[f"{reading}: ties"] += differ - faults
            row[f"{reading}: faults"] += faults
    for title, row in table.items():
        print(f"{title}: " + ", ".join(f"{key} {value}" for key, value in row.items()))
    print(f"{sum(row['sets'] for row in table.values())} mask sets,", end=" ")
    print(f"{sum(n for row in table.values() for key, n in row.items() if 'faults' in key)} faults")


if __name__ == "__main__":
    main()
