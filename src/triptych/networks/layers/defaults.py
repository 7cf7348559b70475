"""Networks are built in float32 on the CPU, whatever torch's global defaults are."""

from __future__ import annotations

from typing import Any

import torch
from torch.overrides import TorchFunctionMode

_FLOATING = {torch.empty, torch.ones, torch.rand, torch.randn, torch.zeros}
_ANY = {torch.arange, torch.eye, torch.full, torch.linspace, torch.tensor}


class PlainDefaults(TorchFunctionMode):
    """While active, tensors are float32 and on the CPU unless the call says otherwise.

    torch's own layers leave type and device to ``torch.set_default_dtype`` and
    ``torch.set_default_device``. Those belong to the program around us, and to all its threads:
    this changes neither.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func in _FLOATING or func in _ANY:
            if kwargs.get("device") is None:
                kwargs["device"] = "cpu"
            if func in _FLOATING and kwargs.get("dtype") is None:
                kwargs["dtype"] = torch.float32
        return func(*args, **kwargs)
