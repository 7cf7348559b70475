"""What is each extra of ``street`` worth? Plain Mask2Former against one extra at a time.

    python -m experiments.street_ablation

All variants are trained with one seed, the two finalists with more (``--seeds``), by
``projects/street/ablation.yaml`` with a change, on the same pictures in the same order. They are
measured on three validation sets: frames of CamVid (mIoU), composites, and photographs of COCO with
real panoptic truth, in the classes of ``street``: 25 that are held out of the training split, since
those of the split val are for the card alone. Stop it at any time (it takes SIGTERM as well as
Ctrl-C); the same command goes on, and run twice at once the two share the work. Variants come in
the order in which they decide most.

Tables have each figure as read, and AP50 and PQ of things with doubles suppressed in use alone
(mask IoU 0.5), which costs no training.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from projects.street.examples import examples

from experiments.driver import Figures, Study, defined, figures_of, table
from triptych.evaluation.answers import match_classes
from triptych.evaluation.evaluate import measure
from triptych.mask_set import MaskSet
from triptych.segmenter import Segmenter, load
from triptych.train.recipe import read_recipe
from triptych.truth import Example

RECIPE = Path(__file__).resolve().parents[1] / "projects" / "street" / "ablation.yaml"

WEIGHTS = "[0.95,0.89,1.67,0.84,1.24,1.06,1.62,1.63,1.17,1.83,2.14]"
"""Inverse frequency of the classes in CamVid's training frames to the power 0.2."""
SEMANTIC = ("criterion.semantic=5.0", f"criterion.class_weights={WEIGHTS}")
OWN = ("criterion.matcher.own_query=[0,1,2,3,4,5,6,7]",)
ANCHORS = ("model.arguments.anchors=56", *OWN)
CROWDS = (
    *SEMANTIC,
    *OWN,
    "criterion.matcher.crowd_query=[8,9,10]",
    "criterion.matcher.ambiguous=true",
    "model.arguments.queries=67",
)
NMS = ("model.arguments.nms=0.5", "criterion.double=0.0")
ALIGNED = ("criterion.matcher.aligned=true",)
BANDS = ("model.arguments.position_bands=8",)

VARIANTS: dict[str, tuple[str, ...]] = {
    "plain": (),
    "semantic loss": SEMANTIC,
    "everything": (*CROWDS, "model.arguments.anchors=56", *NMS, *ALIGNED, *BANDS),
    "anchors": ANCHORS,
    "anchors and semantic loss": (*SEMANTIC, *ANCHORS),
    "anchors and crowd queries": (*CROWDS, "model.arguments.anchors=56"),
    "crowd queries": CROWDS,
    "NMS": NMS,
    "aligned matching": ALIGNED,
    "position bands": BANDS,
}
"""By name, what each changes of the plain recipe."""

COUNTS = {"frames": 34, "composites": 34}
THRESHOLDS = (0.5, 0.8)
"""Scores from which on the panoptic reading keeps a segment."""
SUPPRESSION = 0.5

FINALISTS = ("anchors and semantic loss", "anchors and crowd queries")
"""What more seeds than one are for."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Train and measure what is not known yet, and tell it."""
    study = Study.from_command("street_ablation", "what each extra of street is worth", arguments)
    root = read_recipe(RECIPE, study.overrides).data.arguments["root"]

    def run(variant: str, seed: int) -> Figures:
        folder, seconds = study.train(str(RECIPE), variant, seed, VARIANTS[variant])
        segmenter = load(folder / "model", "cpu")
        figures = {**measured(segmenter, root), **measured(suppressing(segmenter), root, "nms_")}
        runs = [*study.known(), {"variant": variant, "seed": seed, "seconds": seconds, **figures}]
        study.publish(report_of(runs))
        return {"seconds": round(seconds, 1), **figures}

    first = dataclasses.replace(study, seeds=1).measure(list(VARIANTS), run)
    more = [one for one in study.measure(FINALISTS, run) if one not in first]
    study.publish(report_of([*first, *more]))


def suppressing(segmenter: Segmenter) -> Segmenter:
    """The same network, which suppresses doubles from now on."""
    segmenter.model.get_submodule("query_decoder").nms = SUPPRESSION  # type: ignore[assignment]
    return segmenter


def measured(segmenter: Segmenter, root: str, before: str = "") -> Figures:
    """mIoU on frames; AP, AP50 and PQ of composites and photographs by each threshold."""
    found: dict[str, float] = {}
    for name, images in examples(root, **COUNTS).items():
        seen = [(example, segmenter(example.image).to("cpu")) for example in images]
        for threshold in THRESHOLDS:
            for figure, value in _figures(segmenter, seen, threshold).items():
                place = figure if figure[:2] != "pq" else f"{figure}@{threshold}"
                found[f"{before}{name or 'frame'}_{place}"] = value
    return defined(found)


def with_threshold(masks: MaskSet, threshold: float) -> MaskSet:
    """The same masks, read with another score for segments."""
    readings = masks.readings.replace(panoptic_threshold=threshold)
    return dataclasses.replace(masks, readings=readings)


def _figures(
    segmenter: Segmenter, seen: Sequence[tuple[Example, MaskSet]], threshold: float
) -> dict[str, float]:
    match = match_classes(segmenter.classes, segmenter.classes)
    answered = (
        (example, match.answer(with_threshold(masks, threshold))) for example, masks in seen
    )
    report = measure(answered, segmenter.classes)
    wanted = ("miou", "pq", "pq_things", "pq_stuff", "ap", "ap50")
    figures = {name: report.figures[name] for name in wanted if name in report.figures}
    return figures | {
        f"ap50_{name}": report.per_class["ap50"][name]
        for name in ("car", "pedestrian")
        if "ap50" in report.per_class
    }


COLUMNS = {
    "mIoU, frames": "frame_miou",
    "mIoU, photos": "photo_miou",
    "AP50, composites": "composite_ap50",
    "with NMS": "nms_composite_ap50",
    "PQ": "composite_pq@0.5",
    "PQ things, NMS": "nms_composite_pq_things@0.5",
    "AP50, photos": "photo_ap50",
    "with NMS ": "nms_photo_ap50",
    "PQ ": "photo_pq@0.5",
    "PQ things, NMS ": "nms_photo_pq_things@0.5",
}
"""Titles of the table's columns, and their figures; PQ by a threshold of 0.5, which a short
training asks for. The JSON file has all of them, by 0.8 too."""


def report_of(runs: Sequence[Figures]) -> str:
    """A table of the variants that have run, means over the seeds."""
    rows = []
    for variant in [name for name in VARIANTS if any(one["variant"] == name for one in runs)]:
        values = [figures_of(runs, variant, figure) for figure in COLUMNS.values()]
        cells = [f"{100 * sum(each) / len(each):.1f}" for each in values]
        seconds = figures_of(runs, variant, "seconds")
        minutes = f"{sum(seconds) / len(seconds) / 60:.0f}"
        rows.append([variant, str(len(seconds)), *cells, minutes])
    return table(["variant", "seeds", *(title.strip() for title in COLUMNS), "minutes"], rows)


if __name__ == "__main__":
    main()
