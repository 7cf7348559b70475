"""What every data set on disk is to its readers, and what can be wrong with one.

Letters: ``K`` classes, ``H W`` the upright image.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Protocol

from torch import Tensor

from triptych.classes import Classes
from triptych.errors import TriptychError
from triptych.image.preprocess import load_image
from triptych.truth import IGNORE, Example, Truth

UNKNOWN = IGNORE
"""Class id of pixels whose class nobody knows (void), in maps of up to 255 classes."""


class LabelledSet(Protocol):
    """Images with ground truth, read one at a time."""

    title: str
    """Which set this is, in words: "CamVid, split val"."""

    classes: Classes
    semantic: bool
    """Every pixel has a class or is void: mIoU means something."""
    instances: bool
    """Objects are told apart: mask AP means something."""
    panoptic: bool
    """Every pixel is in a segment or void, and things are told apart: PQ means something."""

    def __len__(self) -> int:
        """Number of images."""
        ...

    def name(self, index: int) -> str:
        """What image ``index`` is called: its path from the folder of images on, no suffix."""
        ...

    def __getitem__(self, index: int) -> Example:
        """Read image and truth.

        Raises:
            TriptychError: a file is missing or broken, or its labels cannot be trusted; the
                message names the file.
            IndexError: there is no image ``index``.
        """
        ...


class FaultKind(Enum):
    """Kinds of faults. The value is their name and whether the truth is wrong because of it."""

    MISSING = ("missing file", True)
    UNREADABLE = ("unreadable file", True)
    SIZE = ("size mismatch", True)
    UNKNOWN_ID = ("unknown id", True)
    BROKEN = ("broken annotation", True)
    BROKEN_ENTRY = ("broken entry", False)
    NO_ID = ("annotation without image", True)
    SAME_ID = ("id used twice", False)
    FORM = ("outline in another form", False)
    DOUBLED = ("doubled annotation", False)
    NO_OBJECTS = ("nothing to find", False)
    GUESSED = ("classes not named", False)
    EMPTY_OUTLINE = ("empty outline", False)
    OUTSIDE = ("outline out of range", False)
    NO_SEGMENT = ("id without segment", True)
    NO_PIXELS = ("segment without pixels", False)
    OVERLAP = ("overlap", True)
    AREA = ("area differs", False)
    DISAGREE = ("label maps disagree", True)
    TWICE = ("duplicate image", False)
    CASE = ("names differ in case only", False)
    UNLABELLED = ("image without labels", False)
    NO_IMAGE = ("labels without image", False)
    REMARK = ("remark", False)
    """No fault: what one should know about the set."""

    def __init__(self, label: str, grave: bool) -> None:
        self.label, self.grave = label, grave


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong with a data set."""

    kind: FaultKind
    text: str
    """One line: where, what, and what to do."""


class DataError(TriptychError):
    """A fault that makes an image or its truth unusable."""

    def __init__(self, text: str, kind: FaultKind = FaultKind.BROKEN) -> None:
        super().__init__(text)  # with nothing else, so that worker processes can pass it on
        self.kind = kind

    @property
    def fault(self) -> Fault:
        """The fault itself."""
        return Fault(self.kind, str(self))


class EmptySetError(TriptychError):
    """Nothing of a data set is left to be read.

    Args:
        text: which set, and what it lacks.
        faults: why.
    """

    def __init__(self, text: str, faults: Sequence[Fault] = ()) -> None:
        self.what, self.faults = text, tuple(faults)
        reasons = f": {self.faults[0].text}" if self.faults else ""
        more = len(self.faults) - 1
        super().__init__(text + reasons + (f" (and {more} more like it)" if more > 0 else ""))


Note = Callable[[Fault], None]
"""Takes the faults that a reader comes across; reading goes on as well as it can."""


def refuse(fault: Fault) -> None:
    """The :data:`Note` of those who use the truth: grave faults are errors, others pass.

    Raises:
        DataError: the fault is grave.
    """
    if fault.kind.grave:
        raise DataError(fault.text, fault.kind)


@dataclass(frozen=True)
class Census:
    """What the objects of a set are, as far as its annotation file tells."""

    objects: int = 0
    """Told apart, with an outline."""
    crowds: int = 0
    bare: int = 0
    """Without an outline: boxes only."""
    most: int = 0
    """The greatest number of segments that one image asks a network for."""
    where: str = ""
    """The image that has them."""
    densest: int = 0
    """The greatest number of objects of one class in one image."""


class DiskSet(ABC):
    """What the layouts share: access by index, and the comparison of sizes."""

    title: str
    classes: Classes
    semantic: bool = True
    instances: bool = False
    panoptic: bool = False

    @abstractmethod
    def __len__(self) -> int:
        """Number of images."""

    @abstractmethod
    def image(self, index: int) -> Path:
        """The file of image ``index``."""

    @abstractmethod
    def truth(self, index: int, note: Note = refuse) -> Truth:
        """Read the truth of image ``index``.

        Args:
            index: from 0.
            note: told of every fault in it.

        Raises:
            DataError: there is nothing to read; or ``note`` raises it.
        """

    @abstractmethod
    def name(self, index: int) -> str:
        """What image ``index`` is called: its path from the folder of images on, no suffix."""

    def faults(self) -> Iterator[Fault]:
        """Faults of the set as a whole: files without partner, entries that mean nothing."""
        return iter(())

    def census(self) -> Census | None:
        """What its objects are; None where that is known only when all labels are read."""
        return None

    def scan(self, note: Note) -> None:
        """Look for faults of single annotations in the annotation file alone.

        What is wrong with pixels shows when an image is read.

        Args:
            note: told of every fault.
        """
        del note  # nothing to look at

    def read(self, index: int, note: Note = refuse) -> Example:
        """Read image and truth.

        Args:
            index: from 0.
            note: told of every fault in them.

        Raises:
            DataError: see :meth:`truth`.
            IndexError: there is no image ``index``.
        """
        if not 0 <= index < len(self):
            raise IndexError(index)
        image = read_image(self.image(index))
        truth = self.truth(index, note)
        same_size(self.image(index), image, truth, note)
        return Example(image, truth.semantic, truth.panoptic, truth.instances, truth.ignored)

    def __getitem__(self, index: int) -> Example:
        """Read image and truth; see :class:`LabelledSet`."""
        return self.read(index)

    def __iter__(self) -> Iterator[Example]:
        """All images with their truth, read one at a time."""
        return (self[index] for index in range(len(self)))


def read_image(path: Path) -> Tensor:
    """Upright RGB ``(H, W, 3)`` uint8.

    Raises:
        DataError: the file is missing or broken.
    """
    try:
        return load_image(path)
    except TriptychError as error:
        kind = FaultKind.UNREADABLE if path.exists() else FaultKind.MISSING
        raise DataError(f"image {error}", kind) from error


def same_size(path: Path, image: Tensor, truth: Truth, note: Note) -> None:
    """Note it when an image and its labels differ in size."""
    height, width = image.shape[:2]
    high, wide = truth.semantic.shape
    if (height, width) != (high, wide):
        turned = (height, width) == (wide, high)
        hint = (
            "were they drawn without regard to the turn that its EXIF data ask for?"
            if turned
            else "give both the same size"
        )
        note(
            Fault(
                FaultKind.SIZE,
                f"image {path} is {width}x{height}, its labels are {wide}x{high}: {hint}",
            )
        )
