"""Opening files of weights, whoever wrote them: names and shapes first, values when asked for.

A file's kind is told by its first bytes, not by its name, since files on the web are often called
otherwise than what they are.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path, PurePosixPath, PureWindowsPath

from safetensors import SafetensorError, safe_open
from torch import Tensor

from triptych.checkpoints.foreign import foreign_file, foreign_folder
from triptych.checkpoints.lazy import TensorEntry, Tensors
from triptych.checkpoints.pickles import PICKLE, ZIP, pickled
from triptych.errors import TriptychError
from triptych.image.signatures import HEAD

NAMES = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
"""Where a folder of the Hugging Face hub has its weights; the first that is there is read."""

_INDEX = ".index.json"


@contextmanager
def open_tensors(path: Path) -> Iterator[Tensors]:
    """Give the tensors of a file, of an index of shards, or of a folder that holds either.

    Tensors of safetensors files are mapped into memory: reading one allocates nothing, its values
    come from the disk when they are used, and it outlives the ``with`` block. Writing into one
    changes a private copy, never the file.

    Args:
        path: a folder with one of :data:`NAMES`, one of those, or another file of weights.

    Raises:
        TriptychError: there are no weights, they are damaged, or the shards and their index do
            not agree.
    """
    path = _weights_of(path) if path.is_dir() else path
    with ExitStack() as files:
        if path.name.endswith(_INDEX):
            entries = _shards(path, files)
        else:
            entries = _file(path, files)
        yield Tensors(entries)


def _weights_of(folder: Path) -> Path:
    for name in NAMES:
        if (folder / name).exists():
            return folder / name
    hint = foreign_folder(folder)
    raise TriptychError(
        f"{folder}: holds no weights; " + (hint or f"looked for {', '.join(NAMES)}")
    )


def _file(path: Path, files: ExitStack) -> dict[str, TensorEntry]:
    head = _head(path)
    if head[4:9] == b"\0\0\0\0{":  # the length of the header, and the header
        return _safetensors(path, files)
    if head.startswith((ZIP, PICKLE)):
        return pickled(path, head)
    raise TriptychError(f"{path}: {foreign_file(path, head)}")


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(HEAD)
    except FileNotFoundError as error:
        raise TriptychError(f"{path}: is not there") from error
    except OSError as error:
        raise TriptychError(f"{path}: cannot be read ({error.strerror})") from error


def _safetensors(path: Path, files: ExitStack) -> dict[str, TensorEntry]:
    def tensor(name: str) -> Tensor:
        try:
            return file.get_tensor(name)
        except SafetensorError as error:
            raise TriptychError(f"{path}: cannot read {name!r} ({error})") from error

    try:
        file = files.enter_context(safe_open(path, framework="pt"))
    except SafetensorError as error:
        raise TriptychError(f"{path}: is truncated or damaged ({error}); get it again") from error
    except OSError as error:
        raise TriptychError(f"{path}: cannot be read ({error.strerror or error})") from error
    return {
        name: TensorEntry(tuple(file.get_slice(name).get_shape()), partial(tensor, name))
        for name in file.keys()  # noqa: SIM118 - it is no dict
    }


def _shards(index: Path, files: ExitStack) -> dict[str, TensorEntry]:
    """The tensors of all shards, which must be those that the index names."""
    places = _weight_map(index)
    entries: dict[str, TensorEntry] = {}
    found: dict[str, str] = {}
    for shard in dict.fromkeys(places.values()):
        path = index.parent / shard
        if not path.exists():
            raise TriptychError(
                f"{index}: names {shard!r}, which is not there; get the folder again"
            )
        for name, entry in _file(path, files).items():
            if name in found:
                raise TriptychError(f"{index}: {found[name]!r} and {shard!r} both hold {name!r}")
            found[name] = shard
            entries[name] = entry
    for name, shard in places.items():
        if found.get(name) != shard:
            raise TriptychError(f"{index.parent / shard}: lacks {name!r}, which {index.name} names")
    return entries


def _weight_map(index: Path) -> dict[str, str]:
    """Which shard holds which tensor, from the index."""
    try:
        places = json.loads(index.read_text(encoding="utf-8"))["weight_map"].items()
    except OSError as error:
        raise TriptychError(f"{index}: cannot be read ({error.strerror})") from error
    except ValueError as error:  # not UTF-8, or not JSON
        raise TriptychError(f"{index}: is damaged ({error}); get it again") from error
    except (KeyError, TypeError, AttributeError) as error:
        raise TriptychError(f'{index}: is no index of shards (no "weight_map")') from error
    for name, shard in places:
        if not isinstance(shard, str) or not _plain(shard):
            raise TriptychError(
                f"{index}: places {name!r} in {shard!r}, which is no file beside the index; refused"
            )
    return dict(places)


def _plain(name: str) -> bool:
    """Whether this names a file of the same folder, on any system."""
    parts = PurePosixPath(name).name, PureWindowsPath(name).name
    return bool(name) and parts == (name, name) and name != ".." and "\0" not in name
