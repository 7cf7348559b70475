"""Our network over the weights of a model of transformers: shared, not copied.

Where a rule of :mod:`triptych.checkpoints.keymap` renames a tensor, both networks hold the same
``Parameter``. Where it deals one tensor out, ours are views of theirs. Where it stacks several
(queries, keys and values of Swin; keys and values of SegFormer), their rows move into one tensor of
which theirs become views. So each weight is there once, and a change to it in place is a change to
both.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from triptych.checkpoints.keymap import fit
from triptych.checkpoints.names.family import Published
from triptych.checkpoints.skeleton import skeleton
from triptych.errors import TriptychError
from triptych.interop.accelerate.uncovered import Uncovered

_Place = tuple[nn.Module, str]
"""A module and the name of one of its parameters or buffers."""


class SharedNetwork:
    """A network of ours that computes with the weights of one of theirs.

    Args:
        theirs: a model of transformers.
        family: a name in :data:`triptych.networks.models.registry.FAMILIES`.
        published: how transformers describes that family.

    Raises:
        TriptychError: an option of the model is not supported here, or its weights do not fit.
    """

    def __init__(self, theirs: nn.Module, family: str, published: Published) -> None:
        kind = type(theirs).__name__
        try:
            arguments = published.read(theirs.config.to_dict())  # type: ignore[union-attr,operator]
        except TriptychError as error:
            raise TriptychError(f"{kind}: {error}") from error
        self.network = skeleton(Path(kind), family, arguments).eval().requires_grad_(False)
        places = _file_names(theirs)
        tensors = {name: _get(place) for name, place in places.items()}
        try:
            plan = fit(self.network, tensors, published.rules)
        except TriptychError as error:
            raise TriptychError(f"{kind}: {error}") from error
        ours = _places(self.network)
        self._plan = [
            ([places[name] for name in sources], [ours[name] for name in targets])
            for sources, targets in plan.items()
            if targets
        ]
        self._own = _own_buffers(self.network)
        self._seen: list[tuple[_Place, Tensor, int, int | None]] = []
        self._lock = threading.Lock()

    def bind(self) -> nn.Module:
        """Our network, with the weights that their model has now.

        Raises:
            Uncovered: they are somewhere else, or of different types.
        """
        with self._lock:
            if not self._seen or any(self._changed(*entry) for entry in self._seen):
                # Outside of inference mode, in which tensors would count no changes.
                with torch.inference_mode(False), torch.no_grad():
                    self._bind()
        return self.network

    def release(self) -> None:
        """Give each of their stacked weights memory of its own again, as it was before."""
        self._seen = []
        for sources, _ in self._plan:
            if len(sources) > 1:
                for place in sources:
                    tensor = _get(place)
                    tensor.data = tensor.data.clone()

    @staticmethod
    def _changed(place: _Place, tensor: Tensor, pointer: int, version: int | None) -> bool:
        now = _get(place)
        if now is not tensor or now.data_ptr() != pointer:
            return True
        return version is not None and now._version != version

    def _bind(self) -> None:
        self._seen = []
        seen = []
        plain = [_get(place) for sources, _ in self._plan for place in sources]
        floating = {(t.device, t.dtype) for t in plain if t.is_floating_point()}
        if len(floating) != 1:
            raise Uncovered("weights are of several types or on several devices")
        device = plain[0].device
        if device.type == "meta":
            raise Uncovered("weights are not in memory")
        if any(type(t) not in (Tensor, nn.Parameter) or t.is_inference() for t in plain):
            raise Uncovered("weights are no plain tensors")
        for sources, targets in self._plan:
            tensors = [_get(place) for place in sources]
            if len(sources) == len(targets) == 1:
                _put(targets[0], tensors[0])
            elif len(sources) == 1:
                for target, rows in zip(targets, tensors[0].chunk(len(targets)), strict=True):
                    _put(target, nn.Parameter(rows, requires_grad=False))
            elif len(targets) == 1:
                whole = torch.cat([tensor.data for tensor in tensors])
                parts = whole.split([len(tensor) for tensor in tensors])
                for tensor, part in zip(tensors, parts, strict=True):
                    tensor.data = part
                _put(targets[0], nn.Parameter(whole, requires_grad=False))
            else:
                raise Uncovered("weights are stacked in a way that has no views")
            # Views count changes apart from what they look at.
            stacked = len(tensors) > 1
            for place, tensor in zip(sources, tensors, strict=True):
                version = tensor._version if stacked else None
                seen.append((place, tensor, tensor.data_ptr(), version))
        for place in self._own:
            buffer = _get(place)
            if buffer.device != device:
                _put(place, buffer.to(device))
        self._seen = seen


def _file_names(theirs: nn.Module) -> dict[str, _Place]:
    """Their tensors by the names that ``save_pretrained`` would give them.

    Raises:
        TriptychError: this version of transformers changes more than names as it saves.
    """
    from transformers.core_model_loading import revert_weight_conversion

    state = theirs.state_dict()
    own = {id(tensor): name for name, tensor in state.items()}
    places = _places(theirs)
    found = {}
    reverted: dict[str, Any] = revert_weight_conversion(theirs, dict(state))
    for name, tensor in reverted.items():
        if id(tensor) not in own:
            raise TriptychError(
                f"{type(theirs).__name__}: {name} is stored in another layout than it is used in; "
                "this version of transformers is not known here"
            )
        found[name] = places[own[id(tensor)]]
    return found


def _places(module: nn.Module) -> dict[str, _Place]:
    """Where each tensor of a ``state_dict`` is."""
    found = {}
    for name in module.state_dict():
        path, _, key = name.rpartition(".")
        found[name] = module.get_submodule(path), key
    return found


def _own_buffers(network: nn.Module) -> list[_Place]:
    """Buffers that no file holds."""
    stored = set(network.state_dict())
    found = []
    for name, _ in network.named_buffers():
        if name not in stored:
            path, _, key = name.rpartition(".")
            found.append((network.get_submodule(path), key))
    return found


def _get(place: _Place) -> Tensor:
    module, key = place
    tensor: Tensor | None = module._parameters.get(key)
    if tensor is None:
        tensor = module._buffers.get(key)
    if tensor is None:
        raise Uncovered(f"{key} of a {type(module).__name__} is gone")
    return tensor


def _put(place: _Place, tensor: Tensor) -> None:
    module, key = place
    if key in module._parameters:
        module._parameters[key] = tensor  # type: ignore[assignment]
    else:
        module._buffers[key] = tensor
