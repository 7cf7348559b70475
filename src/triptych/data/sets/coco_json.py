"""The JSON files of COCO, instances and panoptic alike: categories, images, annotations."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from triptych.class_table import ClassTable
from triptych.data.sets.base import Fault, Kind
from triptych.data.sets.beside import Beside
from triptych.data.sets.schema import Schema
from triptych.errors import TriptychError
from triptych.masks import Classes
from triptych.strict import suggest

Annotation = Mapping[str, Any]


@dataclass(frozen=True)
class Picture:
    """An entry of ``images``."""

    id: int | str
    file: str
    height: int
    width: int

    @property
    def name(self) -> str:
        """The file name without suffix."""
        return PurePosixPath(self.file).with_suffix("").as_posix()


@dataclass(frozen=True)
class CocoFile:
    """One annotation file, sorted by image. It stays in memory; pixels do not."""

    path: Path
    categories: Sequence[Mapping[str, Any]]
    pictures: Sequence[Picture]
    by_image: Mapping[int | str, Sequence[Annotation]]
    faults: Sequence[Fault] = field(default=())
    """Entries that mean nothing; they are left out."""

    def beside(self, names: Mapping[str, Sequence[str]]) -> Beside:
        """The rule of ``void_beside``, by category.

        Raises:
            TriptychError: it names a category that the file does not have.
        """
        numbers = {category["name"]: int(category["id"]) for category in self.categories}
        for name in (name for pair in names.items() for name in (pair[0], *pair[1])):
            if name not in numbers:
                raise TriptychError(
                    f"void_beside: the data have no class {name!r}{suggest(name, numbers)}; "
                    f"there are: {', '.join(numbers)}"
                )
        return Beside(
            {numbers[name]: frozenset(numbers[n] for n in near) for name, near in names.items()}
        )

    def schema(self, own: ClassTable | None) -> Schema:
        """The categories as classes, in the order of the file; a table of one's own over them.

        Without ``isthing`` (instance files) all are things.

        Raises:
            TriptychError: categories have no name, share one, or have colours that are none.
        """
        entries = [
            {
                "name": category["name"],
                "thing": bool(category.get("isthing", True)),
                "colour": category.get("color"),
            }
            for category in self.categories
        ]
        try:
            classes = Classes.from_list(entries)
        except TriptychError as error:
            raise TriptychError(f"{self.path}: {error}") from error
        ids = {category["id"]: number for number, category in enumerate(self.categories)}
        return Schema(classes, ids).choose(own)


def read_coco(path: Path) -> CocoFile:
    """Read an annotation file and sort its entries.

    Raises:
        TriptychError: it is missing, no JSON, or lacks one of the three lists.
    """
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise TriptychError(f"cannot read annotations {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise TriptychError(
            f"annotations {path} are no JSON ({error}); restore the file"
        ) from error
    for key in ("images", "annotations", "categories"):
        if not isinstance(content, dict) or not isinstance(content.get(key), list):
            raise TriptychError(f"{path}: no list {key!r}, so it is no COCO annotation file")
    categories = content["categories"]
    numbers = [c.get("id") if isinstance(c, dict) else None for c in categories]
    if not numbers or not all(type(number) is int for number in numbers):
        raise TriptychError(f"{path}: categories need an 'id' and a 'name' each")
    if len(set(numbers)) < len(numbers) or not all("name" in c for c in categories):
        raise TriptychError(f"{path}: categories share an id, or one has no name")
    faults: list[Fault] = []
    pictures = list(_pictures(path, content["images"], faults))
    by_image = _by_image(path, pictures, content["annotations"], faults)
    if not pictures:
        raise TriptychError(f"{path} lists no images")
    return CocoFile(path, categories, pictures, by_image, faults)


def _pictures(path: Path, entries: Sequence[Any], faults: list[Fault]) -> Iterator[Picture]:
    ids: set[int | str] = set()
    files: set[str] = set()
    for place, entry in enumerate(entries):
        try:
            picture = Picture(
                entry["id"], entry["file_name"], int(entry["height"]), int(entry["width"])
            )
            if not isinstance(picture.file, str) or min(picture.height, picture.width) < 1:
                raise ValueError
            seen = picture.id in ids
        except (KeyError, TypeError, ValueError):
            text = f"{path}: images[{place}] needs id, file_name, height and width; it is left out"
            faults.append(Fault(Kind.BROKEN, text))
            continue
        if seen or picture.file in files:
            what = f"id {picture.id}" if seen else picture.file
            text = f"{path}: images[{place}] has {what} of an earlier one; it is left out"
            faults.append(Fault(Kind.TWICE, text))
            continue
        ids.add(picture.id)
        files.add(picture.file)
        yield picture


def _by_image(
    path: Path, pictures: Sequence[Picture], entries: Sequence[Any], faults: list[Fault]
) -> dict[int | str, list[Annotation]]:
    by_image: dict[int | str, list[Annotation]] = {picture.id: [] for picture in pictures}
    for place, entry in enumerate(entries):
        image = entry.get("image_id") if isinstance(entry, dict) else None
        if not isinstance(image, int | str):
            text = f"{path}: annotations[{place}] has no image_id; it is left out"
            faults.append(Fault(Kind.BROKEN, text))
        elif image not in by_image:
            text = f"{path}: annotations[{place}] is about image {image}, which is not listed"
            faults.append(Fault(Kind.NO_IMAGE, text))
        else:
            by_image[image].append(entry)
    return by_image
