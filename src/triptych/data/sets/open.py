"""Open a data set: recognise the layout of a folder, or read the YAML file that describes one."""

from __future__ import annotations

from pathlib import Path

from triptych import config
from triptych.data.sets import (
    ade20k,
    camvid,
    cityscapes,
    coco_instances,
    coco_panoptic,
    composites,
    cvat,
    folders,
    mapillary,
    voc,
)
from triptych.data.sets.base import DiskSet
from triptych.data.sets.foreign import name_keys, refuse_foreign
from triptych.data.sets.layout import DataLayout, Splits
from triptych.errors import TriptychError

LAYOUTS: tuple[DataLayout, ...] = (
    camvid.LAYOUT,
    cityscapes.LAYOUT,
    mapillary.LAYOUT,
    cvat.LAYOUT,
    voc.LAYOUT,
    ade20k.LAYOUT,
    coco_panoptic.LAYOUT,
    coco_instances.LAYOUT,
    composites.LAYOUT,
    folders.LAYOUT,
)
"""In the order in which a folder is compared with them."""

DESCRIPTION = "data.yaml"
"""A folder that holds a file of this name is what the file says."""


def open_set(source: str | Path, split: str | None = None) -> DiskSet:
    """Open one split of a data set.

    Args:
        source: a YAML file; or a folder that holds ``data.yaml`` or has a usual layout.
        split: which part. None: the only one, or the one for validation.

    Raises:
        TriptychError: the layout is not recognised, the description is wrong, there is no such
            split, or the files are not there.
    """
    source = Path(source)
    splits = open_splits(source)
    if split is None:
        split = _usual(source, splits)
    if split not in splits and list(splits) == [""]:
        raise TriptychError(f"{source}: no split {split!r}, it is one set; leave --split out")
    if split not in splits:
        raise TriptychError(f"{source}: no split {split!r}; there are: {', '.join(splits)}")
    return splits[split]()


def _usual(source: Path, splits: Splits) -> str:
    if len(splits) == 1:
        return next(iter(splits))
    validation = [name for name in splits if name.startswith("val")]
    if len(validation) != 1:
        raise TriptychError(f"{source}: which split? There are: {', '.join(splits)}")
    return validation[0]


def open_splits(source: str | Path) -> Splits:
    """What opens each split of a data set; at least one.

    Raises:
        TriptychError: as :func:`open_set`.
    """
    source = Path(source)
    if source.is_dir():
        if (source / DESCRIPTION).is_file():
            return _described(source / DESCRIPTION)
        return _recognised(source)
    if not source.exists():
        raise TriptychError(f"no data set {source}: give a folder or a YAML file that exists")
    return _described(source)


def _recognised(root: Path) -> Splits:
    for layout in LAYOUTS:
        if layout is folders.LAYOUT:  # which fits whatever has images and labels
            refuse_foreign(root)
        splits = layout.find(root, None)
        if splits:
            return splits
    looked = "; ".join(f"{layout.title}: {layout.signs}" for layout in LAYOUTS)
    raise TriptychError(f"{root}: not a layout that is known. Looked for {looked}")


def _described(file: Path) -> Splits:
    if file.suffix.lower() not in (".yaml", ".yml"):
        refuse_foreign(file)
    document = config.read_document(file, "data description")
    name = document.values.get("layout")
    names = [layout.name for layout in LAYOUTS]
    if name not in names:
        foreign = name_keys(document.values)
        if name is None and foreign is not None:
            raise TriptychError(f"{file} belongs to {foreign}")
        place = document.place(("layout",))
        wrong = "says no layout" if name is None else f"{name!r} is no layout"
        perhaps = config.suggest(str(name), names)
        raise TriptychError(f"{place}: {wrong}{perhaps}; choose from {', '.join(names)}")
    layout = LAYOUTS[names.index(name)]
    description = config.build(layout.description, document)
    try:
        return description.open(layout, file)
    except TriptychError as error:
        raise TriptychError(f"{file}: {error}") from error
