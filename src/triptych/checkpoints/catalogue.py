"""Checkpoints that are known by name: their publishers' facts, from ``catalogue.csv`` beside this.

A score is the one that the authors give for the network of this size, data set and task; the hub's
conversions do not repeat it. Queries are those of the authors' configuration. Parameters are
counted on our networks. What nobody states is left open.
"""

from __future__ import annotations

import csv
import importlib.resources
from collections.abc import Iterator
from dataclasses import dataclass

from triptych.readings.settings import ReadingSettings


@dataclass(frozen=True)
class Publication:
    """Where scores were published, and under which terms the weights are."""

    title: str
    url: str
    licence: str


SOURCES = {
    "street card": Publication(
        "docs/models/street.md, CamVid test sequence 0001TP",
        "",
        "trained on data for research use, see NOTICE",
    ),
    "segformer paper": Publication(
        "SegFormer (NeurIPS 2021), table 1, single scale",
        "https://arxiv.org/abs/2105.15203",
        "NVIDIA Source Code License, non-commercial",
    ),
    "maskformer zoo": Publication(
        "MaskFormer's model zoo, single scale",
        "https://github.com/facebookresearch/MaskFormer/blob/main/MODEL_ZOO.md",
        "CC BY-NC 4.0",
    ),
    "mask2former zoo": Publication(
        "Mask2Former's model zoo, single scale",
        "https://github.com/facebookresearch/Mask2Former/blob/main/MODEL_ZOO.md",
        "CC BY-NC 4.0",
    ),
    "oneformer zoo": Publication(
        "OneFormer's results, single scale",
        "https://github.com/SHI-Labs/OneFormer#results",
        "MIT",
    ),
}
"""By the name that ``catalogue.csv`` uses."""


@dataclass(frozen=True)
class CatalogueEntry:
    """One checkpoint."""

    name: str
    """What :func:`triptych.segmenter.load` takes: a bundled name, or ``OWNER/MODEL`` of the hub."""
    family: str
    """A name in :data:`triptych.networks.models.registry.FAMILIES`."""
    size: str
    """Of the backbone, as its paper calls it."""
    task: str
    """What it was trained for: "semantic", "instance" or "panoptic"."""
    data: str
    """The data set."""
    classes: int
    queries: int | None
    """None for a pixel labeller."""
    parameters: float
    """In millions."""
    metric: str | None
    """"mIoU", "AP" (of masks) or "PQ"."""
    score: float | None
    """On the validation set of ``data``, in percent."""
    source: Publication | None
    """Of the score and the licence."""


def catalogue() -> tuple[CatalogueEntry, ...]:
    """All known checkpoints: bundled ones, then by family, data set and size."""
    return tuple(_entry(row) for row in _table("catalogue.csv"))


def _table(name: str) -> Iterator[dict[str, str]]:
    text = importlib.resources.files("triptych.checkpoints").joinpath(name).read_text("utf-8")
    return iter(csv.DictReader(text.splitlines()))


def hub_settings(name: str, usual: ReadingSettings) -> ReadingSettings:
    """How the authors read the checkpoint ``OWNER/MODEL`` or ``OWNER/MODEL@REVISION`` of the hub.

    Files of the hub do not tell what a network was trained for; of a checkpoint that is not in the
    catalogue, ``usual`` is what is known.
    """
    known = {entry.name: entry for entry in catalogue()}
    entry = known.get(name.partition("@")[0])
    if entry is None:
        return usual
    if entry.family == "oneformer":  # which looks at as many instances as it has queries
        usual = usual.replace(top=entry.queries)
    return _settings(entry.family, entry.task, entry.data, usual)


def zoo_settings(file: str, usual: ReadingSettings) -> ReadingSettings:
    """The same for a file of the authors' model zoos, by its name."""
    for row in _table("zoo_files.csv"):
        if row["file"] == file:
            return _settings(row["family"], row["task"], row["data"], usual)
    return usual


def _settings(family: str, task: str, data: str, usual: ReadingSettings) -> ReadingSettings:
    """What the authors' configurations say: of MaskFormer, Mask2Former and OneFormer."""
    if family not in ("maskformer", "mask2former", "oneformer"):
        return usual
    if task == "semantic":
        # SEM_SEG_POSTPROCESSING_BEFORE_INFERENCE is off unless another reading is on.
        return usual.replace(semantic_resize="scores")
    threshold = {
        ("mask2former", "Mapillary Vistas"): 0.0,
        ("maskformer", "ADE20K"): 0.7,
        ("oneformer", "ADE20K"): 0.5,
    }
    return usual.replace(panoptic_threshold=threshold.get((family, data)))


def _entry(row: dict[str, str]) -> CatalogueEntry:
    return CatalogueEntry(
        name=row["name"],
        family=row["family"],
        size=row["size"],
        task=row["task"],
        data=row["data"],
        classes=int(row["classes"]),
        queries=int(row["queries"]) if row["queries"] else None,
        parameters=float(row["parameters"]),
        metric=row["metric"] or None,
        score=float(row["score"]) if row["score"] else None,
        source=SOURCES[row["source"]] if row["source"] else None,
    )
