"""Which images a command line means (files, folders, patterns), and the names of their results."""

from __future__ import annotations

import glob
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from triptych.errors import TriptychError
from triptych.image.decode import SUFFIXES
from triptych.image.signatures import signature_of

RESULTS = (".semantic.png", ".panoptic.png", ".overlay.png", ".json")
"""Ends of the files that are written for an image, in the order in which they are written."""

VIDEO_RESULTS = (".overlay.mp4", ".jsonl", ".json")
"""The same for a video."""

VIDEO_SUFFIXES = frozenset(
    (
        *(".3gp", ".asf", ".avi", ".dv", ".flv", ".h264", ".h265", ".hevc", ".m2ts", ".m4v"),
        *(".mjpeg", ".mjpg", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".mxf", ".ogv"),
        *(".ts", ".vob", ".webm", ".wmv"),
    )
)
"""Suffixes (lower case) by which a pattern finds videos."""


@dataclass(frozen=True)
class ImageFile:
    """An image to work on."""

    path: Path
    """As it was given, for messages."""
    name: PurePath
    """Its results are called ``OUT / name`` plus one of :data:`RESULTS`."""


def find_images(inputs: Sequence[str]) -> tuple[list[ImageFile], list[str]]:
    """Find the images that ``inputs`` mean, each once, in order.

    - A file is taken whatever it is called; its results are called like it, without the suffix.
    - A folder is searched with all folders below it, in natural order (1, 2, 10), for files with a
      known suffix. What is hidden (a name with a leading dot), linked folders, and our own
      results are left out. The folders below it are kept in the names.
    - A pattern (``*``, ``?``, ``[...]``, ``**`` for any folders) is searched in the same way and
      names are counted from its first part with a wildcard. It finds videos too, a folder does not.

    Images that differ in their suffix only, such as ``x.jpg`` and ``x.png``, keep it in their
    names.

    Returns:
        The images, and one line about each input that means none. Files are not opened.

    Raises:
        TriptychError: two images of different folders would get the same name.
    """
    found: dict[str, ImageFile] = {}
    problems: list[str] = []
    for text in inputs:
        unreadable: list[str] = []
        matches = list(_matches(text, unreadable))
        if not matches and not unreadable:
            problems.append(
                f"{text!r}: no images here; known are {' '.join(sorted(SUFFIXES))}; videos are "
                "named one by one, or by a pattern such as 'FOLDER/*.mp4'"
            )
        problems += unreadable
        for path, name in matches:
            # The same file by two ways is one image.
            found.setdefault(os.path.abspath(path), ImageFile(path, name))
    return _named(list(found.values())), problems


def _matches(text: str, problems: list[str]) -> Iterator[tuple[Path, PurePath]]:
    path = Path(text)
    if not text:  # an empty variable of the shell must not mean the current folder
        return
    if path.is_dir():
        yield from ((image, image.relative_to(path)) for image in _walk(path, problems))
    elif not os.path.lexists(path) and glob.has_magic(text):
        fixed = next(i for i, part in enumerate(path.parts) if glob.has_magic(part))
        start = Path(*path.parts[:fixed])
        matches = map(Path, glob.glob(text, recursive=True))
        for match in sorted(matches, key=lambda path: [natural(part) for part in path.parts]):
            for image in _walk(match, problems) if match.is_dir() else [match]:
                if _is_wanted(image) or (image == match and _is_video_name(image)):
                    yield image, image.relative_to(start)
    else:
        yield path, PurePath(path.name)


def _walk(folder: Path, problems: list[str]) -> Iterator[Path]:
    def note(error: OSError) -> None:
        problems.append(f"{error.filename}: cannot be searched ({error.strerror})")

    for root, folders, files in os.walk(folder, onerror=note):
        folders[:] = sorted((n for n in folders if not n.startswith(".")), key=natural)
        for name in sorted(files, key=natural):
            if _is_wanted(Path(name)):
                yield Path(root, name)


def _is_video_name(path: Path) -> bool:
    return (
        path.suffix.lower() in VIDEO_SUFFIXES
        and not path.name.startswith(".")
        and not path.name.endswith(VIDEO_RESULTS)
    )


def is_video(path: Path) -> bool:
    """Whether a file is a video: by its first bytes, or where they tell nothing, its suffix."""
    try:
        found = signature_of(path)
    except OSError:  # opening it will tell
        return False
    return found.kind == "video" if found else path.suffix.lower() in VIDEO_SUFFIXES


def natural(name: str) -> tuple[list[str | int], str]:
    """A key that sorts names by the numbers in them: 1, 2, 10; of equal ones, 01 before 1."""
    parts: list[str | int] = [*re.split(r"(\d+)", name)]
    parts[1::2] = map(int, parts[1::2])
    return parts, name


def _is_wanted(path: Path) -> bool:
    return (
        path.suffix.lower() in SUFFIXES
        and not path.name.startswith(".")
        and not path.name.endswith(RESULTS)
    )


def _named(found: list[ImageFile]) -> list[ImageFile]:
    """Drop the suffixes where that leaves names that differ."""
    uses = Counter(source.name.with_suffix("") for source in found)
    named: dict[PurePath, ImageFile] = {}
    for source in found:
        short = source.name.with_suffix("")
        name = short if uses[short] == 1 else source.name
        if name in named:
            raise TriptychError(
                f"{named[name].path} and {source.path} would both be written as {name}.*; "
                "give the folder that holds both, or run them into different --out folders"
            )
        named[name] = ImageFile(source.path, name)
    return list(named.values())
