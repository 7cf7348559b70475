"""Loading Mask2Former Swin-B from a folder of transformers: time and peak memory, side by side.

    python benchmarks/loading.py --repeat 5

The folder is made first: the configuration of facebook/mask2former-swin-base-coco-panoptic with
random weights. Each load runs in a fresh process, Triptych and transformers in turn, so that the
file is in the system's cache for both. Imports are not counted. Since weights that are mapped into
memory are read only when they are used, the time "with values" includes one pass over all of them.
Peak memory is what the process had at most beyond what it had before loading, file pages included
(Linux only).
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

MEGA = 2**20


def main() -> None:
    """Measure and print; with ``--part``, be one of the processes that are measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        print(json.dumps(PARTS[options.part](options.folder)))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run("make", folder)
        size = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
        rounds = [
            {part: run(part, folder) for part in ("triptych", "transformers")}
            for _ in range(options.repeat + 1)
        ][1:]  # one to warm up
    print(f"Mask2Former Swin-B, {size / MEGA:.0f} MiB, medians of {options.repeat} rounds")
    for part in rounds[0]:
        middle = {
            key: statistics.median(one[part][key] for one in rounds) for key in rounds[0][part]
        }
        print(
            f"{part:12} {middle['load']:6.2f} s, with values {middle['use']:6.2f} s; "
            f"peak {middle['peak'] / MEGA:5.0f} MiB = {middle['peak'] / size:.2f} x file"
        )


def run(part: str, folder: Path) -> dict[str, float]:
    """Run a part in a process of its own."""
    command = [sys.executable, __file__, "--part", part, "--folder", str(folder)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def make(folder: Path) -> dict[str, float]:
    import torch
    from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation, SwinConfig

    torch.manual_seed(0)
    backbone = SwinConfig(
        image_size=384,
        embed_dim=128,
        depths=[2, 2, 18, 2],
        num_heads=[4, 8, 16, 32],
        window_size=12,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )
    config = Mask2FormerConfig(backbone_config=backbone, num_queries=100, num_labels=133)
    Mask2FormerForUniversalSegmentation(config).save_pretrained(folder)
    return {}


def with_triptych(folder: Path) -> dict[str, float]:
    from triptych.checkpoints.transformers import read_transformers

    return measure(lambda: read_transformers(folder)[0])


def with_transformers(folder: Path) -> dict[str, float]:
    from transformers import Mask2FormerForUniversalSegmentation
    from transformers.utils import logging

    logging.disable_progress_bar()
    return measure(lambda: Mask2FormerForUniversalSegmentation.from_pretrained(folder))


PARTS = {"make": make, "triptych": with_triptych, "transformers": with_transformers}


def measure(load: Callable[[], Any]) -> dict[str, float]:
    import torch

    torch.ones(9, 9) @ torch.ones(9, 9)  # the libraries of linear algebra take memory once
    before, began = resident("VmRSS"), time.perf_counter()
    model = load()
    loaded = time.perf_counter()
    for tensor in model.state_dict().values():
        tensor.sum()
    used = time.perf_counter()
    return {"load": loaded - began, "use": used - began, "peak": resident("VmHWM") - before}


def resident(field: str) -> int:
    """Bytes of memory now (VmRSS) or at most (VmHWM).

    Not ``getrusage``: its maximum starts with what the parent process had.
    """
    status = Path("/proc/self/status").read_text()
    found = re.search(rf"{field}:\s+(\d+) kB", status)
    if not found:
        raise SystemExit("peak memory is only measured on Linux")
    return int(found[1]) * 1024


if __name__ == "__main__":
    main()
