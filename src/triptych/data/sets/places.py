"""Where a file that is named in a list really is, whatever system the list was written on."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from pathlib import Path, PurePosixPath


def located(folder: Path, name: str, alone: bool = False) -> Path:
    """The file called ``name`` in ``folder``; the path as written if there is none.

    Tried are the name as it stands, its other Unicode form (macOS takes accents apart), a suffix in
    the other case, and the last part of a path that comes from another folder or computer.

    Args:
        folder: that names start from.
        name: with slashes.
        alone: no other file that is looked for has the last part of this name.
    """
    return next(
        (path for path in _candidates(folder, name, alone) if path.is_file()), folder / name
    )


def _candidates(folder: Path, name: str, alone: bool) -> Iterator[Path]:
    yield folder / name
    for form in ("NFC", "NFD"):
        yield folder / unicodedata.normalize(form, name)
    plain = PurePosixPath(name)
    for suffix in (plain.suffix.lower(), plain.suffix.upper()):
        yield folder / plain.with_suffix(suffix)
    if alone:
        yield folder / plain.name
