"""Data under a class table: every figure against the reference tools on truth merged by hand."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path

import numpy as np
import pytest
from panopticapi.evaluation import pq_compute_single_core
from pycocotools import mask as rle
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from tests.data.sets.disk import coloured, numbers, objects, photo

from triptych.data.sets.base import DiskSet
from triptych.data.sets.open import open_set
from triptych.evaluation.evaluate import Report, measure
from triptych.evaluation.files import open_answers

SIZE = (96, 128)
NAMES = ["person", "bicycle", "car", "truck", "house", "building", "wall"]
THINGS = 4
CATEGORIES = [
    {"id": 10 + i, "name": name, "isthing": int(i < THINGS)} for i, name in enumerate(NAMES)
]
NEW = {"person": 0, "car": 1, "truck": 1, "house": 2, "building": 2}
"""The table below, by hand; 0 pedestrian, 1 vehicle, 2 building."""
KINDS = [
    {"id": 0, "name": "pedestrian", "isthing": 1},
    {"id": 1, "name": "vehicle", "isthing": 1},
    {"id": 2, "name": "building", "isthing": 0},
]
TABLE = """
classes:
  pedestrian: person
  vehicle: [car, truck]
  building: [house, building]
"""
IMAGES = 12


class Map:
    """Segment ids of one image, their categories (places in NAMES) and crowds."""

    def __init__(self, ids: np.ndarray, kinds: dict[int, int], crowds: set[int]) -> None:
        self.ids, self.crowds = ids, crowds
        self.kinds = {number: kind for number, kind in kinds.items() if (ids == number).any()}

    def merged(self) -> tuple[np.ndarray, dict[int, tuple[int, bool]]]:
        """Ids and segments under the table; stuff of one class is one segment, the rest 0."""
        ids, segments = np.zeros_like(self.ids), {}
        for number, kind in self.kinds.items():
            new = NEW.get(NAMES[kind])
            if new is not None:
                place = number if KINDS[new]["isthing"] else 1_000 + new
                ids[self.ids == number] = place
                segments[place] = (new, number in self.crowds and bool(KINDS[new]["isthing"]))
        return ids, segments

    def left_out(self) -> np.ndarray:
        """Pixels of segments that the table leaves out."""
        numbers = [n for n, kind in self.kinds.items() if NAMES[kind] not in NEW]
        return np.isin(self.ids, numbers)

    def entry(self, index: int) -> dict:
        segments = [
            {
                "id": number,
                "category_id": 10 + kind,
                "iscrowd": int(number in self.crowds and kind < THINGS),
                "area": int((self.ids == number).sum()),
            }
            for number, kind in self.kinds.items()
        ]
        return {"image_id": index, "file_name": f"{index}.png", "segments_info": segments}


def random_maps(rng: np.random.Generator) -> tuple[Map, Map]:
    """Blocks of all categories and void; a prediction that is shifted and partly wrong."""
    count = int(rng.integers(4, 10))
    coarse = rng.integers(0, count + 1, (SIZE[0] // 16, SIZE[1] // 16))
    ids = coarse.repeat(16, 0).repeat(16, 1)
    kinds = {n: int(rng.integers(len(NAMES))) for n in range(1, count + 1)}
    guess = np.roll(ids, rng.integers(-3, 4, 2), (0, 1))
    guessed = {
        n: kind if rng.random() < 0.7 else int(rng.integers(len(NAMES)))
        for n, kind in kinds.items()
    }
    crowds = {n for n in kinds if rng.random() < 0.15}
    return Map(ids, kinds, crowds), Map(guess, guessed, set())


def write(root: Path, pairs: list[tuple[Map, Map]], scores: np.random.Generator) -> list[dict]:
    """Truth under ``root``, results under ``root/results``; returns the detections."""
    detections = []
    for index, (truth, guess) in enumerate(pairs):
        photo(root / "images" / f"{index}.png", index, SIZE)
        coloured(root / "maps" / f"{index}.png", truth.ids)
        coloured(root / "results" / "panoptic" / f"{index}.png", guess.ids)
        semantic = np.full(SIZE, 255)
        for number, kind in guess.kinds.items():
            semantic[guess.ids == number] = NEW.get(NAMES[kind], 255)
        numbers(root / "results" / "semantic" / f"{index}.png", semantic)
        for number, kind in guess.kinds.items():
            code = rle.encode(np.asfortranarray(guess.ids == number, np.uint8))
            if kind < THINGS:
                detections.append(
                    {
                        "image_id": index,
                        "category_id": 10 + kind,
                        "score": float(scores.random()),
                        "segmentation": {**code, "counts": code["counts"].decode("ascii")},
                    }
                )
    images = [
        {"id": i, "file_name": f"{i}.png", "height": SIZE[0], "width": SIZE[1]}
        for i in range(len(pairs))
    ]
    truths = [truth.entry(index) for index, (truth, _) in enumerate(pairs)]
    content = {"images": images, "categories": CATEGORIES, "annotations": truths}
    (root / "truth.json").write_text(json.dumps(content))
    guesses = [guess.entry(index) for index, (_, guess) in enumerate(pairs)]
    (root / "results" / "panoptic.json").write_text(json.dumps({"annotations": guesses}))
    (root / "results" / "instances.json").write_text(json.dumps(detections))
    return detections


def described(root: Path, more: str = TABLE) -> DiskSet:
    file = root / "mine.yaml"
    file.write_text(
        "layout: coco-panoptic\nimages: images\nmaps: maps\nannotations: truth.json\n" + more
    )
    return open_set(file)


def measured(data: DiskSet, results: Path) -> Report:
    answers = open_answers(results, data)
    answered = ((data[i], answers.answer(i, SIZE)) for i in range(len(data)))
    return measure(answered, data.classes)


def panopticapi_says(pairs: list[tuple[Map, Map]], folder: Path) -> dict:
    sides: dict[str, list[dict]] = {"true": [], "guess": []}
    for index, pair in enumerate(pairs):
        for side, one in zip(sides, pair, strict=True):
            ids, segments = one.merged()
            coloured(folder / side / f"{index}.png", ids)
            listed = [
                {"id": n, "category_id": k, "iscrowd": int(crowd), "area": int((ids == n).sum())}
                for n, (k, crowd) in segments.items()
            ]
            sides[side].append(
                {"image_id": index, "file_name": f"{index}.png", "segments_info": listed}
            )
    kinds = {kind["id"]: kind for kind in KINDS}
    both = list(zip(sides["true"], sides["guess"], strict=True))
    stat = pq_compute_single_core(0, both, str(folder / "true"), str(folder / "guess"), kinds)
    return {name: stat.pq_average(kinds, isthing=t)[0]["pq"] for name, t in PARTS.items()}


PARTS = {"pq": None, "pq_things": True, "pq_stuff": False}


def pycocotools_says(pairs: list[tuple[Map, Map]], detections: list[dict]) -> tuple[float, float]:
    """AP and AP50, with what the table leaves out as a crowd of each class of things."""
    images: list[dict] = []
    annotations: list[dict] = []
    for index, (truth, _) in enumerate(pairs):
        images.append({"id": index, "height": SIZE[0], "width": SIZE[1]})
        ids, segments = truth.merged()
        regions = [(ids == n, k, crowd) for n, (k, crowd) in segments.items() if k < 2]
        regions += [(truth.left_out(), k, True) for k in (0, 1)]
        for mask, kind, crowd in regions:
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": index,
                    "category_id": kind,
                    "iscrowd": int(crowd),
                    "area": float(mask.sum()),
                    "segmentation": rle.encode(np.asfortranarray(mask, np.uint8)),
                }
            )
    results = [
        {**d, "category_id": NEW[NAMES[d["category_id"] - 10]]}
        for d in detections
        if NAMES[d["category_id"] - 10] in NEW
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {"images": images, "annotations": annotations, "categories": KINDS[:2]}
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(results), "segm")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return float(evaluation.stats[0]), float(evaluation.stats[1])


def plain_miou(pairs: list[tuple[Map, Map]]) -> float:
    both, either = np.zeros(3), np.zeros(3)
    for truth, guess in pairs:
        known = truth.merged()[0] > 0
        planes = []
        for one in (truth, guess):
            kinds = {n: NEW.get(NAMES[kind]) for n, kind in one.kinds.items()}
            planes.append(
                [
                    np.isin(one.ids, [n for n, new in kinds.items() if new == k]) & known
                    for k in range(3)
                ]
            )
        for k in range(3):
            both[k] += (planes[0][k] & planes[1][k]).sum()
            either[k] += (planes[0][k] | planes[1][k]).sum()
    return float((both / either).mean())


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("seed", range(3))
def test_all_figures_are_those_of_the_reference_tools(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    pairs = [random_maps(rng) for _ in range(IMAGES)]
    detections = write(tmp_path, pairs, rng)
    report = measured(described(tmp_path), tmp_path / "results")
    for name, value in panopticapi_says(pairs, tmp_path / "reference").items():
        assert report.figures[name] == pytest.approx(value, abs=1e-9)
    ap, ap50 = pycocotools_says(pairs, detections)
    assert 0.05 < ap < 0.95
    assert report.figures["ap"] == pytest.approx(ap, abs=1e-9)
    assert report.figures["ap50"] == pytest.approx(ap50, abs=1e-9)
    assert report.figures["miou"] == pytest.approx(plain_miou(pairs), abs=1e-9)
    # What is left out does matter here: as background it would cost precision.
    strict = [
        Map(truth.ids, {n: k for n, k in truth.kinds.items() if NAMES[k] in NEW}, truth.crowds)
        for truth, _ in pairs
    ]
    other = list(zip(strict, [guess for _, guess in pairs], strict=True))
    assert pycocotools_says(other, detections)[0] < ap


def one_image(root: Path, person: tuple[int, int], crowd: bool = False) -> DiskSet:
    """A bicycle in columns 40 to 60 and a person in the given columns, before a wall."""
    ids = np.full(SIZE, 7)
    ids[20:60, 40:60] = 2
    ids[10:70, person[0] : person[1]] = 1
    kinds = {7: NAMES.index("wall"), 2: NAMES.index("bicycle"), 1: NAMES.index("person")}
    truth = Map(ids, kinds, {1} if crowd else set())
    write(root, [(truth, truth)], np.random.default_rng(0))
    return described(root, TABLE + "void_beside: {person: [bicycle, motorcycle]}\n")


class TestVoidBeside:
    @pytest.fixture(autouse=True)
    def with_motorcycle(self, monkeypatch):
        monkeypatch.setattr(
            f"{__name__}.CATEGORIES", [*CATEGORIES, {"id": 30, "name": "motorcycle", "isthing": 1}]
        )

    @pytest.mark.parametrize(
        ("columns", "void"),
        [((20, 40), True), ((62, 80), False), ((61, 80), True), ((50, 70), True), ((0, 30), False)],
    )
    def test_who_touches_a_bicycle_is_its_rider(self, tmp_path, columns, void):
        example = one_image(tmp_path, columns)[0]
        assert example.panoptic is not None
        assert example.ignored is not None
        assert any(s.class_id == 0 for s in example.panoptic.segments) is not void
        assert example.semantic[15, columns[1] - 1] == (255 if void else 0)
        assert example.ignored[15, columns[1] - 1] == void
        assert example.ignored[40, 45]  # the bicycle
        assert example.ignored[90, 100]  # the wall, which the table leaves out
        # Nobody counts it against a model that takes the rider for a pedestrian.
        report = measured(one_image(tmp_path, columns), tmp_path / "results")
        assert report.figures["pq"] == (1.0 if not void else pytest.approx(np.nan, nan_ok=True))

    def test_outlines_that_touch(self, tmp_path):
        photo(tmp_path / "images" / "0.png", 0, SIZE)

        def outline(number: int, name: str, x: int, width: int) -> dict:
            points = [x, 10, x + width, 10, x + width, 70, x, 70]
            category = NAMES.index(name) + 10
            return {
                "id": number,
                "image_id": 0,
                "category_id": category,
                "iscrowd": 0,
                "area": 60.0 * width,
                "segmentation": [points],
            }

        boxes = [
            outline(1, "person", 0, 20),
            outline(2, "bicycle", 30, 20),
            outline(3, "person", 40, 20),
            outline(4, "car", 45, 40),
        ]
        content = {
            "images": [{"id": 0, "file_name": "0.png", "height": SIZE[0], "width": SIZE[1]}],
            "categories": CATEGORIES,
            "annotations": boxes,
        }
        (tmp_path / "truth.json").write_text(json.dumps(content))
        file = tmp_path / "mine.yaml"
        file.write_text(
            "layout: coco-instances\nimages: images\nannotations: truth.json\n"
            "classes: {pedestrian: person, vehicle: [car, truck]}\n"
            "void_beside: {person: [bicycle, motorcycle]}\n"
        )
        example = open_set(file)[0]
        assert example.ignored is not None
        assert [true.class_id for true in objects(example)] == [0, 1]
        # Bicycle and rider, less the car before them.
        expected = np.zeros(SIZE, bool)
        expected[10:70, 30:45] = True
        np.testing.assert_array_equal(example.ignored, expected)

    def test_a_category_that_is_not_there(self, tmp_path):
        one_image(tmp_path, (0, 10))
        with pytest.raises(Exception, match=r"void_beside: the data have no class 'bycicle' \(did"):
            described(tmp_path, "void_beside: {person: [bycicle]}\n")


def test_a_table_with_a_mistake_names_its_line(tmp_path):
    write(tmp_path, [random_maps(np.random.default_rng(0))], np.random.default_rng(0))
    with pytest.raises(
        Exception, match=r"line 6: unknown key 'things' in section 'classes.person'"
    ):
        described(tmp_path, "classes:\n  person: {things: true}\n")
