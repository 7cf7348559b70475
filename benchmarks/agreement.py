"""On how many pixels an engine and precision agree with eager in fp32, over real images.

    python benchmarks/agreement.py ../shared/data/camvid/val/images --every 8
    python benchmarks/agreement.py PHOTOS --model runs/mine/model --engine openvino

Prints, for the panoptic and the semantic map, the mean over the images and the worst of them. A
panoptic map agrees where the class is the same.
"""

from __future__ import annotations

import argparse
import statistics

import torch

from triptych.bench.beside import class_map
from triptych.bench.plain import same_pixels
from triptych.image.find import find_images
from triptych.segmenter import load


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", nargs="+", help="files, folders, patterns")
    parser.add_argument("--model", default="street")
    parser.add_argument("--engine", default="eager")
    parser.add_argument("--precision", default="bf16")
    parser.add_argument("--every", type=int, default=1, help="only every so-manyth image")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    reference = load(options.model, "cpu")
    other = load(options.model, "cpu", engine=options.engine, precision=options.precision)
    found: dict[str, list[float]] = {"panoptic": [], "semantic": []}
    images, problems = find_images(options.images)
    for problem in problems:
        parser.error(problem)
    for image in images[:: options.every]:
        wanted, masks = reference(image.path), other(image.path)
        pair = class_map(masks.panoptic()), class_map(wanted.panoptic())
        found["panoptic"].append(same_pixels(*pair))
        found["semantic"].append(same_pixels(masks.semantic().ids, wanted.semantic().ids))
    for reading, shares in found.items():
        print(
            f"{reading}: {statistics.mean(shares):.2%} of the pixels agree, "
            f"{min(shares):.2%} in the worst of {len(shares)} images"
        )


if __name__ == "__main__":
    main()
