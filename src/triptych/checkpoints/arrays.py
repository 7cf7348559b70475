"""Stand-ins for numpy while a pickle is read, so that none of numpy's own code sees foreign data.

A pickle builds an array by calling functions of numpy with what the file says, and those were not
written for hostile callers: ``dtype.__setstate__``, for one, believes flags that make numpy take
bytes for pointers. The classes here take the same calls and only keep what they are told;
:func:`tensor_of` checks it and makes the tensor.
"""

from __future__ import annotations

import math
import re
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from torch import Tensor

_NUMBERS = re.compile(r"[biufc]\d\d?")


class _Sealed(type):
    """A class that a pickle cannot change: it can set attributes of whatever it can name."""

    def __setattr__(cls, name: str, value: object) -> None:
        raise UnpicklingError(f"it tries to change {cls.__name__}")


class Kind(metaclass=_Sealed):
    """For ``numpy.dtype``."""

    __slots__ = ("code", "order")

    def __init__(self, code: Any, *_: object) -> None:
        self.code, self.order = code, "="

    def __setstate__(self, state: Any) -> None:
        self.order = state[1]


class Array(metaclass=_Sealed):
    """For ``numpy.ndarray``, which pickles name but do not call."""

    __slots__ = ("data", "fortran", "kind", "shape")
    shape: Any
    kind: Any
    fortran: Any
    data: Any

    def __setstate__(self, state: Any) -> None:
        _, self.shape, self.kind, self.fortran, self.data = state
        if type(self.data) is str:  # bytes of Python 2
            self.data = self.data.encode("latin-1")


class Reconstruct(Array):
    """For ``numpy.core.multiarray._reconstruct``: an empty array, whose state comes after."""

    __slots__ = ()

    def __init__(self, *_: object) -> None:
        self.shape = self.kind = self.fortran = self.data = None


class FromBuffer(Array):
    """For ``numpy.core.numeric._frombuffer``, the way of pickle protocol 5."""

    __slots__ = ()

    def __init__(self, data: Any, kind: Any, shape: Any, order: Any) -> None:
        self.shape, self.kind, self.fortran, self.data = shape, kind, order == "F", data


class Scalar(metaclass=_Sealed):
    """For ``numpy.core.multiarray.scalar``: a remark beside the weights, never one of them."""

    __slots__ = ()

    def __init__(self, *_: object) -> None:
        pass


class Bytes(metaclass=_Sealed):
    """For ``bytes`` and ``_codecs.encode``, by which pickle protocol 2 writes bytes."""

    def __new__(cls, text: Any = "", codec: Any = "latin1") -> Any:  # noqa: D102
        if type(text) is not str or codec not in ("latin1", "latin-1"):
            raise UnpicklingError(f"it makes bytes in an unusual way, with {codec!r}")
        return text.encode("latin-1")


NUMPY: dict[str, type] = {
    "numpy.dtype": Kind,
    "numpy.ndarray": Array,
    **{
        f"numpy.{core}.{name}": stand_in
        for core in ("core", "_core")  # numpy 1, numpy 2
        for name, stand_in in (
            ("multiarray._reconstruct", Reconstruct),
            ("multiarray.scalar", Scalar),
            ("numeric._frombuffer", FromBuffer),
        )
    },
}
"""What pickles call, and who answers."""


def check(array: Array) -> tuple[int, ...]:
    """Shape of an array, once it is sure that :func:`tensor_of` will succeed.

    Raises:
        ValueError: it holds no numbers, or not as many as its shape says.
    """
    try:
        shape, data, dtype = array.shape, array.data, _dtype(array.kind)
    except AttributeError as error:  # made without a call, so nothing is set
        raise ValueError("is no array") from error
    if type(shape) is not tuple or not all(type(n) is int and n >= 0 for n in shape):
        raise ValueError(f"has the shape {shape!r}")
    if type(data) not in (bytes, bytearray):
        raise ValueError("holds no numbers")
    if len(data) != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"has {len(data)} bytes, which is not {dtype} times {shape}")
    return shape


def tensor_of(array: Array) -> Tensor:
    """The tensor of an array that :func:`check` has passed.

    It is made by the first call, which lets go of the bytes: a file is in memory once.
    """
    if not isinstance(array.data, Tensor):
        dtype = _dtype(array.kind)
        numbers = np.ndarray(array.shape, dtype, array.data, order="F" if array.fortran else "C")
        array.data = torch.from_numpy(np.array(numbers, dtype.newbyteorder("="), order="C"))
    return array.data


def _dtype(kind: Any) -> np.dtype[Any]:
    if type(kind) is not Kind:
        raise ValueError("has no dtype")
    code, order = kind.code, kind.order
    if type(code) is not str or not _NUMBERS.fullmatch(code) or order not in ("<", ">", "|", "="):
        raise ValueError(f"holds {code!r}, not numbers")
    try:
        dtype = np.dtype(order + code)
        torch.from_numpy(np.empty(0, dtype.newbyteorder("=")))
    except TypeError as error:
        raise ValueError(f"holds {code!r}, which is no type of tensors") from error
    return dtype
