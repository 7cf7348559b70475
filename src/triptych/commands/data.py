"""``triptych data``: look into a data set before anything is trained or measured on it."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from triptych.commands.console import complain, one_line
from triptych.commands.progress import shown

Source = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="DATA")]


@dataclass(frozen=True)
class Check:
    """Read a data set once and tell what is wrong with it, each fault in one line.

    The exit code is 2 if anything is wrong.
    """

    data: Source
    """A folder of a usual layout, or a YAML file that describes one; see docs/data.md."""

    split: str | None = None
    """Check this split only. By default all of them, and whether they share images."""

    def run(self) -> int:
        """Check, print the faults and count them."""
        from triptych.data.sets.base import EmptySetError, Fault, FaultKind
        from triptych.data.sets.check import Seen, check
        from triptych.data.sets.open import open_set, open_splits

        seen: Seen = {}
        counts = Counter[str]()
        empty: EmptySetError | None = None
        for split in open_splits(self.data) if self.split is None else [self.split]:
            began = time.monotonic()
            found: list[Fault] = []
            try:
                data = open_set(self.data, split)
                for faults in shown(check(data, seen), len(data), "images"):
                    found += faults
            except EmptySetError as error:
                found += error.faults
                complain(error.what)
                empty = error
                continue
            except KeyboardInterrupt:
                complain("interrupted; what was found so far:")
                raise
            finally:
                for fault in found:
                    print(one_line(f"{fault.kind.label}: {fault.text}"))
                told = Counter(f.kind.label for f in found if f.kind is not FaultKind.REMARK)
                counts.update(told)
            seconds = time.monotonic() - began
            print(
                one_line(
                    f"{data.title}: {_counted(len(data), 'image')}, "
                    f"{_counted(len(data.classes), 'class', 'classes')}, "
                    f"{_counted(told.total(), 'fault')}, {seconds:.1f} s"
                )
            )
        for label, count in counts.most_common():
            print(f"{count:8,}  {label}")
        return 2 if counts or empty else 0


@dataclass(frozen=True)
class Show:
    """Draw a contact sheet: images of a data set with their truth, and a legend."""

    data: Source
    """A folder of a usual layout, or a YAML file that describes one; see docs/data.md."""

    out: Path = Path("out/data.png")
    """Picture to write, .png or .jpg."""

    split: str | None = None
    """Which split. By default the only one, or the one for validation."""

    count: int = 12
    """How many images, spread evenly over the split."""

    columns: int = 3
    """How many in a row."""

    def run(self) -> int:
        """Draw, and say where the picture is."""
        from triptych.atomic import atomic_write
        from triptych.data.sets.open import open_set
        from triptych.data.sets.sheet import sheet
        from triptych.errors import TriptychError

        if self.count < 1 or self.columns < 1:
            raise TriptychError("--count and --columns must be 1 or more")
        if self.out.suffix.lower() not in (".png", ".jpg"):
            raise TriptychError(f"--out {self.out}: pictures are written as .png or .jpg")
        data = open_set(self.data, self.split)
        count = min(self.count, len(data))
        indices = [place * len(data) // count for place in range(count)]
        picture = sheet(data, shown(indices, count, "images"), self.columns)
        with atomic_write(self.out) as file:
            picture.save(file, quality=90)
        print(one_line(f"{data.title}: {count} of {len(data)} images in {self.out}"))
        return 0


@dataclass(frozen=True)
class Data:
    """Check a data set, or draw a contact sheet of it."""

    what: Annotated[
        Annotated[Check, tyro.conf.subcommand("check")]
        | Annotated[Show, tyro.conf.subcommand("show")],
        tyro.conf.arg(name=""),
    ]

    def run(self) -> int:
        """Do it."""
        import warnings

        warnings.filterwarnings("ignore", module="PIL")  # damaged files are told of by name
        return self.what.run()


def _counted(number: int, one: str, many: str = "") -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"
