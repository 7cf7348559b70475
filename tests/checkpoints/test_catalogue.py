"""The table of known checkpoints against networks, the bundled folders and their cards."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path

import pytest
from tests.networks.models.test_registry import UNASKED

from triptych.checkpoints.before import arguments_of_today
from triptych.checkpoints.bundled import bundled
from triptych.checkpoints.catalogue import (
    SOURCES,
    CatalogueEntry,
    catalogue,
    hub_settings,
    zoo_settings,
)
from triptych.checkpoints.names.registry import family
from triptych.checkpoints.skeleton import skeleton
from triptych.networks.models.registry import FAMILIES
from triptych.readings.settings import ReadingSettings

ENTRIES = catalogue()
HUB = [entry for entry in ENTRIES if entry.name not in bundled()]
BACKBONES = {
    "ResNet-50": "resnet50",
    "ResNet-101": "resnet101",
    "Swin-T": "swin_tiny",
    "Swin-S": "swin_small",
    "Swin-B": "swin_base",
    "Swin-L": "swin_large",
}
CLASSES = {
    ("ADE20K", "semantic"): 150,
    ("ADE20K", "panoptic"): 150,
    ("COCO", "instance"): 80,
    ("COCO", "panoptic"): 133,
    ("COCO-Stuff-10K", "semantic"): 171,
    ("Cityscapes", "instance"): 8,
    ("Cityscapes", "panoptic"): 19,
    ("Cityscapes", "semantic"): 19,
    ("Mapillary Vistas", "panoptic"): 65,
    ("Mapillary Vistas", "semantic"): 65,
}


@cache
def millions(family: str, size: str, classes: int, queries: int | None) -> float:
    arguments: dict[str, object] = {"classes": classes}
    if queries is None:
        arguments["size"] = size.lower()
    else:
        arguments |= {"backbone": BACKBONES[size], "queries": queries}
    model = skeleton(Path("catalogue.csv"), family, arguments)
    return sum(parameter.numel() for parameter in model.parameters()) / 1e6


@pytest.mark.parametrize("family", sorted(UNASKED))
def test_parameters_are_those_of_our_networks(family):
    found = [entry for entry in HUB if entry.family == family]
    assert len(found) >= (4 if family == "oneformer" else 12)
    for entry in found:
        counted = millions(entry.family, entry.size, entry.classes, entry.queries)
        assert entry.parameters == pytest.approx(counted, abs=0.051), entry.name


def test_every_family_size_data_set_and_task_that_was_published_is_there():
    def sizes(family: str, data: str, task: str) -> set[str]:
        chosen = (e for e in HUB if (e.family, e.data, e.task) == (family, data, task))
        return {entry.size for entry in chosen}

    swins = {"Swin-T", "Swin-S", "Swin-B", "Swin-L"}
    for data in ("ADE20K", "Cityscapes"):
        assert sizes("segformer", data, "semantic") == {f"B{n}" for n in range(6)}
    assert sizes("maskformer", "COCO", "panoptic") == swins
    assert sizes("maskformer", "ADE20K", "semantic") == swins | {"ResNet-50", "ResNet-101"}
    for data, task in (("COCO", "panoptic"), ("ADE20K", "semantic")):
        assert sizes("mask2former", data, task) == swins
    for task in ("instance", "panoptic", "semantic"):
        assert sizes("mask2former", "Cityscapes", task) == swins
    for task in ("panoptic", "semantic"):
        assert sizes("mask2former", "Mapillary Vistas", task) == {"Swin-L"}
    assert sizes("oneformer", "ADE20K", "panoptic") == {"Swin-T", "Swin-L"}
    for data in ("COCO", "Cityscapes"):
        assert sizes("oneformer", data, "panoptic") == {"Swin-L"}


@pytest.mark.parametrize("entry", HUB, ids=lambda entry: entry.name)
def test_an_entry_agrees_with_itself(entry: CatalogueEntry):
    owner, _, model = entry.name.partition("/")
    assert re.fullmatch(r"[\w-]+", owner)
    assert re.fullmatch(r"[\w-]+", model)
    assert model.startswith(entry.family)
    assert entry.classes == CLASSES[entry.data, entry.task]
    # The name tells data, task and size too, in the publishers' words.
    assert entry.data.split("-")[0].split()[0].lower().removesuffix("20k") in model
    if entry.family == "mask2former":
        assert model.endswith(entry.task)
        large = entry.size == "Swin-L" and entry.task != "semantic"
        assert entry.queries == (200 if large else 100)
    words = re.split("[-_]", model.replace("resnet-", "resnet"))
    size = next(w for w in words if re.fullmatch(r"b\d|tiny|small|base|large|resnet\d+", w))
    assert entry.size.replace("Swin-", "").lower() in (size, size[0], "resnet-" + size[6:])
    measured = {"semantic": "mIoU", "instance": "AP", "panoptic": "PQ"}
    if entry.source:
        assert entry.metric == measured[entry.task]
        assert entry.score
        assert 25 < entry.score < 90
    else:
        assert (entry.metric, entry.score) == (None, None)


def test_names_are_unique_and_all_sources_are_used():
    assert len({entry.name for entry in ENTRIES}) == len(ENTRIES)
    assert {entry.source for entry in ENTRIES} == {*SOURCES.values(), None}
    for source in SOURCES.values():
        assert source.title
        assert source.licence


def test_larger_networks_of_a_kind_score_higher():
    # A slip in copying a figure shows here.
    for name in FAMILIES:
        for data, task in CLASSES:
            kind = [e for e in HUB if (e.family, e.data, e.task) == (name, data, task)]
            kind.sort(key=lambda e: (e.parameters, "IN21k" in e.name))
            scores = [e.score for e in kind if e.score and not e.size.startswith("ResNet")]
            assert scores == sorted(scores), (name, data, task)


class TestBundled:
    def test_they_come_first(self):
        assert [entry.name for entry in ENTRIES[: len(bundled())]] == list(bundled())

    def test_facts_are_those_of_the_folders(self):
        for entry in ENTRIES[: len(bundled())]:
            config = json.loads((bundled()[entry.name] / "config.json").read_text())
            assert entry.family == config["family"]
            assert entry.classes == len(config["classes"])
            assert entry.queries == config["arguments"]["queries"]
            arguments = arguments_of_today(config["arguments"])
            model = skeleton(Path(entry.name), config["family"], arguments)
            counted = sum(parameter.numel() for parameter in model.parameters()) / 1e6
            assert entry.parameters == pytest.approx(counted, abs=0.051)

    def test_scores_are_those_of_the_cards(self):
        for entry in ENTRIES[: len(bundled())]:
            assert entry.score is not None
            card = Path(__file__).parents[2] / "docs" / "models" / f"{entry.name}.md"
            told = re.search(rf"\*\*{entry.metric}\s+(0\.\d+)\*\*", card.read_text())
            assert told
            assert entry.score == pytest.approx(100 * float(told[1])), (
                "catalogue.csv is out of date"
            )


USUAL = ReadingSettings()


@pytest.mark.parametrize("entry", HUB, ids=lambda entry: entry.name)
def test_checkpoints_for_semantic_segmentation_alone_resize_scores(entry: CatalogueEntry):
    usual = family(entry.family).readings
    settings = hub_settings(entry.name, usual)
    queries = entry.queries is not None
    assert settings.semantic_resize == (
        "scores" if entry.task == "semantic" and queries else "masks"
    )
    assert settings.segment_pixels == ("won" if entry.family == "maskformer" else "kept")


def test_a_oneformer_looks_at_as_many_instances_as_it_has_queries():
    assert hub_settings("shi-labs/oneformer_cityscapes_swin_large", USUAL).top == 250
    assert hub_settings("shi-labs/oneformer_ade20k_swin_tiny", USUAL).top == 150
    assert hub_settings("somebody/oneformer_ade20k_swin_tiny", USUAL) == USUAL


@pytest.mark.parametrize(
    ("name", "threshold"),
    [
        ("shi-labs/oneformer_ade20k_swin_large", 0.5),
        ("shi-labs/oneformer_coco_swin_large", 0.8),
        ("facebook/mask2former-swin-large-mapillary-vistas-panoptic", 0.0),
        ("facebook/mask2former-swin-large-ade-panoptic@main", 0.8),
        ("somebody/mask2former-swin-large-mapillary-vistas-panoptic", 0.8),
    ],
)
def test_thresholds_are_those_of_the_authors_configurations(name: str, threshold: float):
    assert hub_settings(name, USUAL).panoptic_threshold == threshold


@pytest.mark.parametrize(
    ("file", "changes"),
    [
        ("model_final_94dc52.pkl", {}),  # Mask2Former R50, COCO panoptic
        ("model_final_500878.pkl", {"semantic_resize": "scores"}),  # Mask2Former R50, ADE20K
        ("model_final_d8dbeb.pkl", {"semantic_resize": "scores"}),  # MaskFormer R50, ADE20K
        ("model_final_7aa977.pkl", {"panoptic_threshold": 0.7}),  # MaskFormer R50, ADE panoptic
        ("mine.pkl", {}),
    ],
)
def test_files_of_the_zoos_are_known_by_name(file: str, changes: dict):
    assert zoo_settings(file, USUAL) == USUAL.replace(**changes)
