"""The JSON files of COCO, instances and panoptic alike: categories, images, annotations.

Whatever is wrong with a file as a whole is found here, once: ids, doubles, entries that mean
nothing. What is wrong with an outline shows when it is drawn.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from triptych.class_table import ClassTable
from triptych.classes import Classes
from triptych.config import suggest
from triptych.data.sets.base import EmptySetError, Fault, FaultKind
from triptych.data.sets.beside import VoidBeside
from triptych.data.sets.categories import Category, read_categories
from triptych.data.sets.pictures import ImageEntry, Pictures, read_pictures
from triptych.data.sets.schema import Schema
from triptych.data.sets.values import Id, plain_id, shown
from triptych.errors import TriptychError

Annotation = Mapping[str, Any]


@dataclass(frozen=True)
class CocoFile:
    """One annotation file, sorted by image. It stays in memory; pixels do not."""

    path: Path
    categories: Sequence[Category]
    """The classes, in the order of the file."""
    places: Mapping[Id, int]
    """Id of a category to its place in ``categories``."""
    pictures: Sequence[ImageEntry]
    aliases: Mapping[Id, Id]
    """Other ids of pictures that are listed more than once."""
    by_image: Mapping[Id, Sequence[Annotation]]
    faults: Sequence[Fault] = field(default=())
    """What is wrong with the file as a whole."""

    def beside(self, names: Mapping[str, Sequence[str]]) -> VoidBeside:
        """The rule of ``void_beside``, by the places of categories.

        Raises:
            TriptychError: it names a category that the file does not have.
        """
        places = {category.name: place for place, category in enumerate(self.categories)}
        for name in (name for pair in names.items() for name in (pair[0], *pair[1])):
            if name not in places:
                raise TriptychError(
                    f"void_beside: the data have no class {name!r}{suggest(name, places)}; "
                    f"there are: {', '.join(places)}"
                )
        return VoidBeside(
            {places[name]: frozenset(places[n] for n in near) for name, near in names.items()}
        )

    def schema(self, own: ClassTable | None) -> Schema:
        """The categories as classes, whose numbers are their places; a table of one's own over it.

        Raises:
            TriptychError: there are too many, or nobody says which are things.
        """
        things = [category.thing for category in self.categories]
        classes = Classes.from_list(
            [
                {"name": category.name, "thing": thing is not False, "colour": category.colour}
                for category, thing in zip(self.categories, things, strict=True)
            ]
        )
        unclear = frozenset(c.name for c in self.categories if c.thing is None)
        if unclear and own is None:
            raise TriptychError(
                f"{self.path}: category {min(unclear)!r} has no 'isthing', so nobody knows whether "
                f"its objects are told apart ({len(unclear)} of {len(things)} categories); add "
                "'isthing': 0 or 1 to each, or list the classes with 'thing: true' or 'thing: "
                "false' in a YAML file"
            )
        return Schema(classes, {place: place for place in range(len(things))}).choose(own, unclear)

    def category(self, entry: Annotation) -> int | None:
        """The place of the category that an annotation or segment names; None if not listed."""
        category = plain_id(entry.get("category_id"))
        return None if category is None else self.places.get(category)


def read_coco(path: Path, *, panoptic: bool) -> CocoFile:
    """Read an annotation file and sort its entries.

    Args:
        path: the file.
        panoptic: whether annotations hold ``segments_info``.

    Raises:
        TriptychError: it is missing, no JSON, or lacks one of the three lists.
    """
    content = read_json(path)
    for key in ("images", "annotations", "categories"):
        if not isinstance(content, dict) or not isinstance(content.get(key), list):
            raise TriptychError(f"{path}: no list {key!r}, so it is no COCO annotation file")
    entries = content["annotations"]
    faults: list[Fault] = []
    used = Counter(_categories(entries, panoptic))
    categories, places = read_categories(path, content["categories"], used, panoptic, faults)
    listed = read_pictures(path, content["images"], faults)
    if not listed.pictures:
        raise EmptySetError(f"{path} lists no images that can be used", faults)
    by_image = _by_image(path, listed, entries, faults)
    if panoptic:  # an image without segments is left out: no truth is wrong
        faults = [_left_out(fault) if fault.kind is FaultKind.NO_ID else fault for fault in faults]
    return CocoFile(path, categories, places, listed.pictures, listed.aliases, by_image, faults)


def read_json(path: Path) -> Any:
    """The contents of a JSON file.

    Raises:
        TriptychError: it is missing, unreadable or no JSON.
    """
    try:
        content = path.read_bytes()
        if not content.strip():
            raise TriptychError(f"annotations {path}: the file is empty; restore it")
        return json.loads(content)
    except OSError as error:
        raise TriptychError(f"cannot read annotations {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise TriptychError(
            f"annotations {path} are no JSON ({error}); restore the file"
        ) from error


def _left_out(fault: Fault) -> Fault:
    return Fault(FaultKind.BROKEN_ENTRY, f"{fault.text.rpartition(':')[0]}; it is left out")


def _categories(entries: Sequence[Any], panoptic: bool) -> Iterator[Id]:
    """The category of every annotation, or of every segment of one."""
    for entry in entries:
        if not isinstance(entry, dict):
            continue
        listed = entry.get("segments_info") if panoptic else [entry]
        for one in listed if isinstance(listed, list) else ():
            category = plain_id(one.get("category_id")) if isinstance(one, dict) else None
            if category is not None:
                yield category


def _by_image(
    path: Path, listed: Pictures, entries: Sequence[Any], faults: list[Fault]
) -> dict[Id, list[Annotation]]:
    by_image: dict[Id, list[Annotation]] = {picture.id: [] for picture in listed.pictures}
    seen: set[Id] = set()
    again: list[tuple[int, Id]] = []
    for place, entry in enumerate(entries):
        image = plain_id(entry.get("image_id")) if isinstance(entry, dict) else None
        if image is None:
            got = f" ({shown(entry.get('image_id'))})" if isinstance(entry, dict) else ""
            text = f"{path}: annotations[{place}] has no image_id{got}: some image lacks an object"
            faults.append(Fault(FaultKind.NO_ID, text))
            continue
        image = listed.aliases.get(image, image)
        if image not in by_image:
            why = "which is left out" if image in listed.left_out else "which is not listed"
            text = f"{path}: annotations[{place}] is about image {shown(entry['image_id'])}, {why}"
            faults.append(Fault(FaultKind.NO_IMAGE, text))
            continue
        by_image[image].append(entry)
        own = plain_id(entry.get("id"))
        if own in seen:
            again.append((place, own))
        elif own is not None:
            seen.add(own)
    if again:
        place, own = again[0]
        text = (
            f"{path}: {len(again)} annotation{'s' * (len(again) > 1)} with an id of an earlier "
            f"one, such as annotations[{place}] with {shown(own)}; tools that sort by id lose one "
            "of two"
        )
        faults.append(Fault(FaultKind.SAME_ID, text))
    return by_image
