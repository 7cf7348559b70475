"""How a layout is told: by the folder itself, or by a description in YAML that names the parts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from triptych.class_table import ClassTable, TableForm
from triptych.data.sets.base import DiskSet
from triptych.errors import TriptychError

Splits = Mapping[str, Callable[[], DiskSet]]
"""What opens each split, by its name; ``""`` where there is only one, without a name."""


@dataclass(frozen=True)
class DataLayout:
    """One way in which data sets lie on disk."""

    name: str
    """What descriptions call it."""
    title: str
    """What people call it."""
    signs: str
    """What a folder is recognised by, for messages."""
    find: Callable[[Path, ClassTable | None], Splits]
    """The splits of a folder, under a class table of one's own; none if it has another layout."""
    description: type[Description]
    """What a description of this layout may say."""


@dataclass(frozen=True)
class Description(ABC):
    """What a YAML file may say whatever the layout. Paths are relative to it.

    Raises:
        TriptychError: ``rest`` without ``classes``.
    """

    layout: str
    """Name of the layout."""

    @abstractmethod
    def open(self, layout: DataLayout, file: Path) -> Splits:
        """The splits that are described by ``file``.

        Raises:
            TriptychError: something that is named is not there.
        """


@dataclass(frozen=True)
class AsPacked(Description):
    """A data set as its authors pack it: only the folder needs naming."""

    root: str = "."
    """The folder that is unpacked."""
    classes: TableForm = ()
    """A class table of one's own, made of the classes of the data."""
    rest: str | None = None
    """Name of a stuff class for what is labelled as none of ``classes``."""

    def __post_init__(self) -> None:
        ClassTable.read(self.classes, self.rest)

    def open(self, layout: DataLayout, file: Path) -> Splits:
        """The splits of the folder."""
        root = file.parent / self.root
        splits = layout.find(root, ClassTable.read(self.classes, self.rest))
        if not splits:
            raise TriptychError(f"root: {root} holds no {layout.title}; expected {layout.signs}")
        return splits


@dataclass(frozen=True)
class InSplits(Description):
    """A data set whose parts may lie anywhere, one path each; ``{split}`` stands for a split."""

    def parts(self, file: Path, splits: Sequence[str], **paths: str) -> dict[str, dict[str, Path]]:
        """The paths of every split by name of the part.

        Raises:
            TriptychError: there are splits and no path has a ``{split}``, or the reverse.
        """
        marked = [name for name, path in paths.items() if "{split}" in path]
        if marked and not splits:
            raise TriptychError(f"{marked[0]}: has {{split}} in it; list them under 'splits'")
        if splits and not marked:
            raise TriptychError("splits: no path has {split} in it; put it where they differ")
        return {
            split: {
                name: file.parent / path.replace("{split}", split) for name, path in paths.items()
            }
            for split in splits or ("",)
        }


def titled(title: str, split: str) -> str:
    """A set's title from that of the whole and the name of the split."""
    return f"{title}, split {split}" if split else title
