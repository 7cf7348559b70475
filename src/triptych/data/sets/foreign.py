"""Data sets in forms that are not read: each is named, with the way to one that is."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from triptych.errors import TriptychError

LARGEST_LOOK = 2**23
"""Bytes of a JSON file that are read to find out what it is."""

COCO_WAY = (
    "name it in a YAML file ('layout: coco-instances', 'images: FOLDER', 'annotations: {file}'; "
    "see docs/data.md)"
)


def name_foreign(path: Path) -> str | None:
    """What a folder or file that is no known data set probably is, and what to do; None: no idea.

    Args:
        path: exists.
    """
    if path.is_file():
        return _of_file(path)
    return next((told for test in _TESTS if (told := test(path))), None)


def name_keys(values: Mapping[Any, Any]) -> str | None:
    """The same for the contents of a YAML or JSON file that is no description of ours."""
    keys = values.keys()
    if {"names", "nc"} & keys and {"train", "val", "nc"} & keys:
        return YOLO
    if {"shapes", "imagePath"} <= keys:
        return LABELME
    if {"images", "annotations", "categories"} <= keys:
        return "an annotation file of COCO, whose images may be anywhere; " + COCO_WAY.format(
            file="FILE"
        )
    if "_via_img_metadata" in keys:
        return VIA
    return None


YOLO = (
    "a YOLO data set (a text file of classes and coordinates beside each image), which is not "
    "read; export it as COCO (Roboflow, CVAT and fiftyone do that) and give that folder"
)
LABELME = (
    "a data set of labelme (a JSON file beside each image), which is not read; turn it into COCO "
    "(pip install labelme2coco; labelme2coco FOLDER) or label maps (labelme2voc.py)"
)
VIA = (
    "a project of the VGG Image Annotator, which is not read; in VIA choose Annotation > Export "
    "Annotations (COCO format)"
)


def _json(path: Path) -> Any:
    """The contents of a small JSON file; None if it is none."""
    try:
        if path.stat().st_size > LARGEST_LOOK:
            return None
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None


def _of_file(path: Path) -> str | None:
    suffix = path.suffix.lower()
    if suffix in (".zip", ".tar", ".gz", ".tgz", ".7z", ".rar"):
        return "an archive; unpack it and give the folder"
    if suffix == ".json":
        content = _json(path)
        return name_keys(content) if isinstance(content, dict) else None
    if suffix == ".xml":
        return CVAT_XML
    return None


CVAT_XML = (
    "an XML file of outlines or boxes (CVAT, PASCAL VOC), which is not read; export the task as "
    "'COCO 1.0' or 'Segmentation mask 1.1'"
)


def _jsons(root: Path) -> Iterator[Path]:
    """JSON files near the top of a folder, a few of each place."""
    for pattern in ("*.json", "annotations/*.json", "*/*.json"):
        for number, path in enumerate(sorted(root.glob(pattern))):
            if number >= 20:
                break
            yield path


def _yolo(root: Path) -> str | None:
    for labels in (root / "labels", *sorted(root.glob("*/labels")), *sorted(root.glob("labels/*"))):
        if next(labels.glob("*.txt"), None) and not next(labels.glob("*.png"), None):
            return YOLO
    return None


def _by_json(root: Path) -> str | None:
    for path in _jsons(root):
        content = _json(path)
        if not isinstance(content, dict):
            continue
        told = name_keys(content)
        if told is not None:
            if told.startswith("an annotation file of COCO"):
                return f"a folder with {path.name}, {told.replace('FILE', str(path.name))}"
            return told
        if {"classes", "tags"} <= content.keys() and path.name == "meta.json":
            return (
                "a project of Supervisely, which is not read; export it as COCO ('Export to COCO' "
                "in its ecosystem)"
            )
    return None


def _large_coco(root: Path) -> str | None:
    """A JSON file that is too large to look into is an annotation file, as a rule of thumb."""
    for path in _jsons(root):
        if path.stat().st_size > LARGEST_LOOK:
            return (
                f"a folder with the large file {path.name}, which may be an annotation file of "
                f"COCO; if so, {COCO_WAY.format(file=path.name)}"
            )
    return None


def _xml(root: Path) -> str | None:
    for pattern in ("*.xml", "Annotations/*.xml", "annotations/*.xml", "*/*.xml"):
        if next(root.glob(pattern), None):
            return CVAT_XML
    return None


def _records(root: Path) -> str | None:
    for pattern in ("*.tfrecord", "*/*.tfrecord"):
        if next(root.glob(pattern), None):
            return "a data set of TFRecords, which is not read; export it as COCO"
    return None


_TESTS: tuple[Callable[[Path], str | None], ...] = (_yolo, _by_json, _xml, _records, _large_coco)


def refuse_foreign(path: Path) -> None:
    """Stop where a folder or file is in a form that is known and not read.

    Raises:
        TriptychError: it is; with the way to a form that is read.
    """
    told = name_foreign(path)
    if told is not None:
        raise TriptychError(f"{path} is {told}")
