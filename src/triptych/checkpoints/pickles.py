"""Weights that were pickled, read without running what a pickle may ask for.

Two kinds are about: files of ``torch.save``, and the plain pickles of numpy arrays in the model zoo
of detectron2. Both are programs for an unpickler; here, one that knows tensors, arrays and plain
containers and refuses all else.
"""

from __future__ import annotations

import pickle
import re
import warnings
import zipfile
from functools import partial
from pathlib import Path
from textwrap import shorten
from typing import Any

import torch
from torch import Tensor
from torch.serialization import safe_globals

from triptych.checkpoints.arrays import NUMPY, Array, Bytes, check, tensor_of
from triptych.checkpoints.foreign import foreign_zip
from triptych.checkpoints.lazy import TensorEntry
from triptych.errors import TriptychError

ZIP = b"PK\x03\x04"
PICKLE = b"\x80"

_LEGACY = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19"  # of torch.save before 1.6: its magic number, pickled
_WRAPPERS = (
    *("state_dict_ema", "model_ema", "ema_state_dict", "ema"),  # averaged ones are those to use
    *("state_dict", "model_state_dict", "model", "module"),
    *("net", "network", "weights", "params"),
)
_DEPTH = 3
_REFUSED_BY_TORCH = re.compile(r"GLOBAL (\S+) (?:was not|whose module)")
_REASON_OF_TORCH = re.compile(r"(?:WeightsUnpickler error:|\n\n)\s*(\S.*)")
_PLAIN: dict[str, Any] = {
    "collections.OrderedDict": dict,
    "builtins.set": set,
    "builtins.frozenset": frozenset,
    "builtins.bytes": Bytes,
    "_codecs.encode": Bytes,
}


def pickled(path: Path, head: bytes) -> dict[str, TensorEntry]:
    """The tensors of a pickled file by name; of a training checkpoint, those of the network.

    A file of ``torch.save`` is mapped into memory unless it is compressed or of the time before
    PyTorch 1.6. Pickled arrays become tensors one by one, as they are asked for.

    Args:
        head: its first bytes, which begin with :data:`ZIP` or :data:`PICKLE`.

    Raises:
        TriptychError: it is damaged, asks for anything but tensors and plain containers, or holds
            no tensors.
    """
    try:
        if head.startswith(ZIP):
            contents = _saved_by_torch(path, mapped=_is_stored(path))
        elif _LEGACY in head:
            contents = _saved_by_torch(path, mapped=False)
        else:
            with path.open("rb") as file:
                contents = _Unpickler(file, encoding="latin1").load()
    except TriptychError:
        raise
    except _Refused as error:
        raise TriptychError(
            f"{path}: refused, and nothing was run: it asks for {error!s:.80}, "
            "and only tensors are read; save its state_dict alone where you trust it"
        ) from error
    except Exception as error:  # a damaged pickle can fail in any way
        reason = shorten(str(error).partition(". ")[0], 160) or type(error).__name__
        raise TriptychError(
            f"{path}: is truncated, damaged or not of the usual kind ({reason})"
        ) from error
    return _entries(path, contents)


class _Refused(Exception):
    """What a pickle asks for and does not get."""

    def __init__(self, asked: str) -> None:
        # A name out of a hostile file may hold line ends or commands for the terminal.
        super().__init__(asked if asked.isprintable() else ascii(asked))


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        asked = f"{module.replace('__builtin__', 'builtins')}.{name}"
        allowed = NUMPY.get(asked) or _PLAIN.get(asked)
        if allowed is None:
            raise _Refused(asked)
        return allowed


def _saved_by_torch(path: Path, *, mapped: bool) -> Any:
    try:
        with (
            safe_globals([(stand_in, name) for name, stand_in in NUMPY.items()]),
            warnings.catch_warnings(action="ignore"),  # what matters to the user is an error here
        ):
            return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError as error:
        asked = _REFUSED_BY_TORCH.search(str(error))
        if asked:
            raise _Refused(asked[1]) from error
        told = _REASON_OF_TORCH.search(str(error))
        raise pickle.UnpicklingError(told[1] if told else error) from error


def _is_stored(path: Path) -> bool:
    """Whether a file of ``torch.save`` lies uncompressed in its zip archive, as torch writes it."""
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
    if told := foreign_zip([member.filename for member in members]):
        raise TriptychError(f"{path}: {told}")
    return all(member.compress_type == zipfile.ZIP_STORED for member in members)


def _entries(path: Path, contents: Any) -> dict[str, TensorEntry]:
    state = _state(contents, _DEPTH)
    if not state:
        raise TriptychError(f"{path}: holds no tensors by name")
    entries = {}
    for name, value in state.items():
        if isinstance(value, Array):
            try:
                entries[name] = TensorEntry(check(value), partial(tensor_of, value))
            except ValueError as error:
                raise TriptychError(
                    f"{path}: {name!r} {error}; only arrays of numbers are read"
                ) from error
        else:
            entries[name] = TensorEntry(tuple(value.shape), value.detach)
    return entries


def _state(contents: Any, depth: int) -> dict[str, Tensor | Array]:
    """The network's tensors in a training checkpoint, without what lies beside them."""
    if not isinstance(contents, dict):
        return {}
    # By way of `dict`, since a pickle can give an OrderedDict a `get` and an `items` of its own.
    for wrapper in _WRAPPERS if depth else ():
        if inner := _state(dict.get(contents, wrapper), depth - 1):
            return inner
    return {
        name: value
        for name, value in dict.items(contents)
        if isinstance(name, str) and isinstance(value, Tensor | Array)
    }
