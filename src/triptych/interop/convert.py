"""From one format of checkpoints to another, with a look at what was written before it counts."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import torch

from triptych.errors import TriptychError
from triptych.segmenter import Segmenter, load

Format = Literal["triptych", "transformers"]


def convert(
    source: str,
    out: Path,
    to: Format = "triptych",
    dtype: torch.dtype = torch.float32,
    overwrite: bool = False,
) -> Segmenter:
    """Write a checkpoint as a folder of another format, and return what was read.

    The folder is written beside ``out``, loaded, and compared with the source, bit for bit in
    ``dtype``. Only then does it take its place: whatever goes wrong leaves ``out`` as it was.

    Args:
        source: all that :func:`triptych.segmenter.load` takes: a folder, a name on the hub, a
            bundled name, or a file of a network's authors.
        out: the new folder.
        to: our format, or the one of transformers.
        dtype: type of the weights in the new folder.
        overwrite: replace the checkpoint that ``out`` holds; other files in it stay.

    Raises:
        TriptychError: the source cannot be loaded, ``out`` holds something already or cannot be
            written, or the format has no place for such a network.
    """
    refuse_existing(out, overwrite)
    segmenter = load(source, device="cpu", engine="eager")
    with folder_beside(out) as folder:
        segmenter.save(folder, dtype, to)
        _compare(segmenter, folder, dtype)
    return segmenter


def refuse_existing(out: Path, overwrite: bool) -> None:
    """Refuse to write where something is already, but for an empty folder.

    Raises:
        TriptychError: something is there, and it is not to be overwritten.
    """
    empty = out.is_dir() and not any(out.iterdir())
    if not overwrite and os.path.lexists(out) and not empty:
        raise TriptychError(f"{out}: is there already; choose another name, or --overwrite it")


@contextlib.contextmanager
def folder_beside(out: Path) -> Iterator[Path]:
    """Give a new folder in the same place, which takes the name ``out`` if the block succeeds."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as temporary:
            # One level down: the folder of `tempfile` is for the owner's eyes only.
            folder = Path(temporary) / "new"
            folder.mkdir()
            yield folder
            if not out.is_dir():
                folder.rename(out)
                return
            for file in _weights_first(folder):
                os.replace(file, out / file.name)
    except OSError as error:
        reason = error.strerror or str(error)
        raise TriptychError(f"cannot write {out}: {reason}; choose another folder") from error


def _weights_first(folder: Path) -> list[Path]:
    """So that a config never describes weights which are not there yet."""
    return sorted(folder.iterdir(), key=lambda file: (file.suffix == ".json", file.name))


def _compare(segmenter: Segmenter, folder: Path, dtype: torch.dtype) -> None:
    """Refuse a folder that loads with other weights than ``segmenter`` has."""
    written = load(folder, device="cpu", dtype=dtype).model.state_dict()
    for name, tensor in segmenter.model.state_dict().items():
        wanted = tensor.to(dtype) if tensor.is_floating_point() else tensor
        if name not in written or not torch.equal(written[name], wanted):
            raise TriptychError(
                f"{name} reads back differently from what was written, so nothing was kept; "
                "please report this, with the name of the checkpoint"
            )
