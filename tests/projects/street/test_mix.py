"""The data of ``street``: shares, classes, and what nobody labelled."""

from __future__ import annotations

import json
import pickle
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from projects.street.examples import DATA, examples
from projects.street.mix import BLOCK, StreetMix
from tests.data.sets.disk import coloured, photo
from tests.data.street import write_street

from triptych.data.camvid import CLASSES
from triptych.data.sets.open import open_splits
from triptych.errors import TriptychError
from triptych.truth import IGNORE

SIZE = (60, 80)
SKY, CAR, PEDESTRIAN = (CLASSES.index(name) for name in ("sky", "car", "pedestrian"))
CATEGORIES = [
    {"id": 1, "name": "person", "isthing": 1},
    {"id": 3, "name": "car", "isthing": 1},
    {"id": 5, "name": "cup", "isthing": 1},
    {"id": 9, "name": "sky-other-merged", "isthing": 0},
]


def dense(root: Path) -> Path:
    """Two photographs: sky over a person; and nothing but a cup."""
    segments: list[list[tuple[int, int]]] = [[(1, 9), (2, 1)], [(3, 5)]]
    annotations = []
    for number, listed in enumerate(segments):
        photo(root / "train" / f"{number}.png", number, SIZE)
        ids = np.full(SIZE, listed[0][0])
        if number == 0:
            ids[20:, 20:50] = 2
        coloured(root / "maps" / f"{number}.png", ids)
        infos = [{"id": i, "category_id": c, "iscrowd": 0} for i, c in listed]
        annotations.append(
            {"image_id": number, "file_name": f"{number}.png", "segments_info": infos}
        )
    write(root, annotations)
    file = root / "dense.yaml"
    file.write_text(
        "layout: coco-panoptic\nimages: '{split}'\nmaps: maps\nannotations: truth.json\n"
        "splits: [train]\nclasses: {pedestrian: person, car: , sky: sky-other-merged}\n"
    )
    return file


def write(root: Path, annotations: list[dict[str, Any]]) -> None:
    images = [
        {"id": i, "file_name": f"{i}.png", "height": SIZE[0], "width": SIZE[1]} for i in (0, 1)
    ]
    content = {"images": images, "categories": CATEGORIES, "annotations": annotations}
    (root / "truth.json").write_text(json.dumps(content))


def outlined(root: Path) -> Path:
    """Two photographs: a car and a cup, outlined; and nothing."""
    for number in (0, 1):
        photo(root / "train" / f"{number}.png", number, SIZE)

    def box(number: int, category: int, x: int) -> dict[str, Any]:
        points = [x, 10, x + 20, 10, x + 20, 50, x, 50]
        return {"id": number, "image_id": 0, "category_id": category, "segmentation": [points]}

    write(root, [box(1, 3, 5), box(2, 5, 50)])
    file = root / "outlined.yaml"
    file.write_text(
        "layout: coco-instances\nimages: '{split}'\nannotations: truth.json\n"
        "splits: [train]\nclasses: {pedestrian: person, car: }\n"
    )
    return file


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    root = tmp_path_factory.mktemp("mix")
    street = write_street(root / "street")
    return street, dense(root / "dense"), outlined(root / "outlined")


def mix(files: tuple[Path, Path, Path], **more: Any) -> StreetMix:
    street, first, second = files
    arguments: dict[str, Any] = {
        "crop": (64, 96),
        "scale": (1, 1),
        "photographs": {str(first): 0.25, str(second): 0.35},
    }
    return StreetMix(street, **(arguments | more))


def of(data: StreetMix, part: int, count: int = 3) -> list[Any]:
    return [data[i] for i in range(3 * BLOCK) if data.part(i)[0] == part][:count]


def test_shares_hold_in_every_block_and_parts_are_gone_through_in_order(files) -> None:
    data = mix(files)
    parts = [data.part(index) for index in range(4 * BLOCK)]
    for block in range(4):
        places = [place for place, _ in parts[block * BLOCK : (block + 1) * BLOCK]]
        assert Counter(places) == {0: 8, 1: 5, 2: 7}
    for place, count in enumerate((32, 20, 28)):
        assert [inner for p, inner in parts if p == place] == list(range(count))
    orders = {tuple(p for p, _ in parts[b * BLOCK : (b + 1) * BLOCK]) for b in range(4)}
    assert len(orders) > 1


def test_a_sample_depends_on_seed_and_index_alone(files) -> None:
    data, other = mix(files), pickle.loads(pickle.dumps(mix(files)))
    for index in (7, 0, 33):
        assert torch.equal(data[index].pixels, other[index].pixels)
        assert torch.equal(data[index].targets.masks, other[index].targets.masks)
    assert any(not torch.equal(data[i].pixels, mix(files, seed=1)[i].pixels) for i in range(3))


def test_composites_have_all_classes(files) -> None:
    assert all(sample.targets.unlabelled is None for sample in of(mix(files), 0))


def test_dense_photographs_in_classes_of_street(files) -> None:
    data = mix(files)
    for sample in of(data, 1):
        targets = sample.targets
        assert sample.name == "0", "the other one is void everywhere"
        assert targets.unlabelled is not None
        labelled = {"pedestrian", "car", "sky"}
        assert {CLASSES.names[k] for k in targets.unlabelled} == set(CLASSES.names) - labelled
        assert set(targets.class_ids.tolist()) <= {SKY, PEDESTRIAN}
        assert set(targets.semantic.unique().tolist()) <= {SKY, PEDESTRIAN, IGNORE}
        for class_id, mask in zip(targets.class_ids, targets.masks, strict=True):
            assert (targets.semantic[mask] == class_id).all()


def test_outlined_photographs_say_nothing_of_stuff_and_void_of_what_is_left_out(files) -> None:
    data = mix(files, tilt=0.0, crop=(60, 80))
    samples = [s for s in of(data, 2, 99) if len(s.targets.class_ids)]
    assert samples
    for sample in samples:
        targets = sample.targets
        assert targets.unlabelled is not None
        labelled = {CLASSES.names[k] for k in range(11) if k not in targets.unlabelled}
        assert labelled == {"pedestrian", "car"}
        assert targets.class_ids.tolist() == [CAR]
        assert targets.void is not None
        # The cup is void; of the wall behind it is known that it is no car.
        assert int(targets.void.sum()) == pytest.approx(20 * 40, abs=5)
        assert not (targets.void & targets.masks[0]).any()


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"photographs": {"x.yaml": 0.01}}, r"shares \[0.01\] are multiples of 1/20"),
        ({"photographs": {"x.yaml": 0.8, "y.yaml": 0.3}}, "together at most 1"),
        ({"photographs": {"nowhere.yaml": 0.5}}, "no data set nowhere.yaml"),
        ({"composites": {"near": 2.0}}, "near 2.0: a chance lies between 0 and 1"),
        ({"tilt": 40.0}, "tilt 40.0: give degrees, 0 to 30"),
    ],
)
def test_mistakes(files, more, words) -> None:
    with pytest.raises(TriptychError, match=words):
        mix(files, **more)


def test_photographs_are_held_out_for_measuring(files) -> None:
    kept = {s.name for s in of(mix(files, held_out=2), 2, 99)}
    assert kept == {"0"}
    assert {s.name for s in of(mix(files), 2, 99)} == {"0", "1"}
    with pytest.raises(TriptychError, match="no photograph is trained and measured on"):
        examples(files[0], held_out=0)


def test_a_class_that_street_does_not_have(files, tmp_path) -> None:
    file = outlined(tmp_path)
    file.write_text(file.read_text().replace("car: }", "auto: car}"))
    with pytest.raises(TriptychError, match="street has no class 'auto'; change the class table"):
        mix(files, photographs={str(file): 0.5})


@pytest.mark.data
def test_the_tables_fit_the_real_sets(shared_data: Path) -> None:
    for file in sorted(DATA.glob("*.yaml")):
        if not (DATA / "../../../../shared/data").is_dir():
            pytest.skip("the tables look for ../shared beside the checkout, which is not there")
        splits = open_splits(file)
        assert "train" in splits
        assert set(splits["train"]().classes.names) <= set(CLASSES.names)
