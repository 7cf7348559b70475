"""Networks built without memory for their parameters, which a file then provides."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from triptych.errors import TriptychError
from triptych.networks.models.registry import build


def skeleton(config: Path, family: str, arguments: Mapping[str, Any]) -> nn.Module:
    """Build a network whose parameters have shapes but no values yet (they are on "meta").

    Args:
        config: the file that describes it, for messages.
        family: a name in :data:`triptych.networks.models.registry.FAMILIES`.
        arguments: of the family's builder.

    Raises:
        TriptychError: there is no such network.
    """
    try:
        with _ParametersOnMeta():
            return build(family, **arguments)
    except Exception as error:  # arguments from a file can upset a builder in any way
        reason = " ".join(str(error).split())
        raise TriptychError(f"{config}: describes no possible network ({reason})") from error


class _ParametersOnMeta(TorchFunctionMode):
    """While active, ``torch.empty`` gives tensors without memory, and filling them does nothing.

    That is how layers make their parameters. Other tensors, above all buffers that a module
    computes and no file holds, stay real: that is why ``torch.device("meta")`` would not do.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func is torch.empty:
            kwargs["device"] = "meta"
        target = args[0] if args else kwargs.get("tensor")  # torch.nn.init passes it by name
        if isinstance(target, Tensor) and target.is_meta and func.__name__ in _FILLS:
            return target  # torch itself would import its symbolic shapes for this: 3 s
        return func(*args, **kwargs)


_FILLS = {
    "constant_",
    "copy_",
    "fill_",
    "kaiming_normal_",
    "kaiming_uniform_",
    "normal_",
    "uniform_",
    "zero_",
}
