"""Writing files so that a crash, a full disk or ``kill -9`` never leaves half of one behind."""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

from triptych.errors import TriptychError


@contextlib.contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside ``path``; rename it to ``path`` when the block succeeds.

    The temporary name keeps the suffix, so that writers which choose a format by it still work,
    and it lies in the same folder, because a rename is atomic only within one file system.
    The data is flushed to the disk before the rename: after a power cut the old file or the new
    one is there, never an empty one.

    Raises:
        TriptychError: the folder cannot be written (missing rights, full disk, not a folder).
    """
    path = Path(path)
    temporary = path.with_name(f".{path.stem}.{uuid.uuid4().hex[:8]}.tmp{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        _flush(temporary)
        os.replace(temporary, path)
    except OSError as error:
        reason = error.strerror or str(error)
        raise TriptychError(
            f"cannot write {path}: {reason}; choose another folder or free some space"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    """Wait until a file is on the disk."""
    # A plain descriptor: Ctrl-C between `open` and `with` would leave a file object, of which
    # Python tells in lines of its own where warnings are errors.
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
