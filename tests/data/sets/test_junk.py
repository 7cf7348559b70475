"""Whatever stands in an annotation file, the answer is a fault or one line: never a traceback."""

from __future__ import annotations

import contextlib
import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.data.sets import disk

from triptych.data.sets.base import DiskSet
from triptych.data.sets.check import check
from triptych.data.sets.open import open_set
from triptych.data.sets.report import before_use
from triptych.data.views import Views
from triptych.errors import TriptychError
from triptych.evaluation.files import open_answers

scalars = (
    st.none()
    | st.booleans()
    | st.sampled_from([0, 1, -1, 2, 7, 12, 255, 2**24, 2**31, 2**63, 2**64, 10**400, -(10**400)])
    | st.floats()
    | st.sampled_from(["", "0", "1", "01", "1.0", "a", "../a.png", "/etc/passwd", "\x00", "\ud800"])
    | st.sampled_from(["x" * 300, "PPYo0", "é", "#ff0000", "NaN", "true"])
    | st.text(max_size=5)
)
junk = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner),
    max_leaves=6,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths to all values in a document."""
    found = [path]
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            found += places(inner, (*path, key))
    return found


def replaced(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    document = copy.deepcopy(document)
    inner = document
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return document


def use(root: Path) -> None:
    """Whatever the commands do with a set."""
    data: DiskSet | None = None
    with contextlib.suppress(TriptychError):
        data = open_set(root)
        for faults in check(data, {}):
            assert not any("\n" in fault.text for fault in faults)
    if data is None:
        return
    for purpose in ("measure", "learn"):
        with contextlib.suppress(TriptychError):
            before_use(data, purpose)
    for index in range(len(data)):
        with contextlib.suppress(TriptychError):
            data[index]
    with contextlib.suppress(TriptychError):
        Views(root, crop=(8, 8))[0]


def sets(root: Path) -> dict[str, tuple[Path, Path]]:
    instances = disk.coco_instances(root / "instances")
    panoptic = disk.coco_panoptic(root / "panoptic")
    return {
        "instances": (instances, instances / "val" / "instances.json"),
        "panoptic": (panoptic, panoptic / "annotations" / "panoptic_val2017.json"),
    }


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Path, Any]]:
    found = sets(tmp_path_factory.mktemp("junk"))
    return {name: (*paths, json.loads(paths[1].read_bytes())) for name, paths in found.items()}


@pytest.mark.parametrize("kind", ["instances", "panoptic"])
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(draws=st.data())
def test_junk_in_an_annotation_file(kind: str, made: Any, draws: st.DataObject) -> None:
    root, file, document = made[kind]
    for _ in range(draws.draw(st.integers(1, 3))):
        path = draws.draw(st.sampled_from(places(document)))
        document = replaced(document, path, draws.draw(junk))
    file.write_text(json.dumps(document))
    use(root)


RESULTS = {
    "instances.json": [
        {"image_id": 1, "category_id": 3, "score": 0.5, "segmentation": disk.box(1, 1, 5, 5)},
        {
            "image_id": "1",
            "category_id": "tie",
            "score": 1,
            "segmentation": {"size": [12, 16], "counts": [100, 10, 82]},
        },
    ]
}


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(draws=st.data())
def test_junk_in_results(tmp_path_factory: pytest.TempPathFactory, draws: st.DataObject) -> None:
    root = tmp_path_factory.mktemp("results")
    data = open_set(disk.coco_instances(root / "data"))
    document: Any = RESULTS["instances.json"]
    for _ in range(draws.draw(st.integers(1, 2))):
        path = draws.draw(st.sampled_from(places(document)))
        document = replaced(document, path, draws.draw(junk))
    (root / "instances.json").write_text(json.dumps(document))
    with contextlib.suppress(TriptychError):
        found = open_answers(root, data)
        for index in range(len(data)):
            found.answer(index, (disk.HEIGHT, disk.WIDTH))
