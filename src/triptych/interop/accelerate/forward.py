"""The forward pass: ours where it gives what theirs would, theirs elsewhere."""

from __future__ import annotations

import inspect
import logging
from typing import Any

import torch
from torch import Tensor, nn

from triptych.checkpoints.names.registry import family
from triptych.interop.accelerate import outputs
from triptych.interop.accelerate.place import remember
from triptych.interop.accelerate.uncovered import Uncovered
from triptych.interop.accelerate.weights import SharedNetwork

log = logging.getLogger(__name__)

ANSWERS: dict[str, type[outputs.Answers]] = {
    "segformer": outputs.SegFormerAnswers,
    "maskformer": outputs.MaskFormerAnswers,
    "mask2former": outputs.Mask2FormerAnswers,
    "oneformer": outputs.OneFormerAnswers,
}
"""How each family that is covered answers; the names are transformers' ``model_type``."""

_TAKEN = frozenset({"pixel_values", "pixel_mask", "task_inputs", "return_dict"})
"""Arguments that our forward pass understands; the others may be None or False."""

_ASKED = (
    "output_hidden_states",
    "output_attentions",
    "output_auxiliary_logits",
)
"""Entries of a model's configuration that ask for more than we give."""


class Forward:
    """What stands in the place of a model's ``forward``.

    Args:
        model: of transformers, with a family in :data:`ANSWERS`.

    Raises:
        TriptychError: an option of the model is not supported here, or its weights do not fit.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        self._build()

    def _build(self) -> None:
        model = self.model
        self._told: set[str] = set()
        # Callers look up in it which arguments there are.
        self.__signature__ = inspect.signature(type(model).forward.__get__(model))
        name = model.config.model_type
        published = family(name).published
        assert published is not None
        self.shared = SharedNetwork(model, name, published)
        self._answers = ANSWERS[name](self.shared.network, model)
        self._modules = [one for one in model.modules() if one is not model]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Answer as the model's own ``forward``, with its arguments."""
        try:
            given = self._arguments(args, kwargs)
            self._check(given)
            self.shared.bind()
            pixels = given["pixel_values"]
            with torch.no_grad():
                answer = self._answers.answer(pixels, given)
            remember(answer, pixels, given.get("pixel_mask"))
            return answer
        except Uncovered as reason:
            if str(reason) not in self._told:
                self._told.add(str(reason))
                kind = type(self.model).__name__
                log.info("%s: transformers' own forward runs: %s", kind, reason)
        return type(self.model).forward(self.model, *args, **kwargs)

    def _arguments(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        names = ("pixel_values", "task_inputs")[: len(args)]
        if len(args) > (2 if self.model.config.model_type == "oneformer" else 1):
            raise Uncovered("arguments are given by position")
        return dict(zip(names, args, strict=True)) | kwargs

    def _check(self, given: dict[str, Any]) -> None:
        """See that the answer would be the same.

        Raises:
            Uncovered: it would not.
        """
        model, pixels = self.model, given.get("pixel_values")
        if model.training:
            raise Uncovered("it trains")
        taken = _TAKEN | self._answers.asked
        for name, value in given.items():
            if name not in taken and value is not None and value is not False:
                raise Uncovered(f"{name} is given")
        config = model.config
        if given.get("return_dict", config.return_dict) is False:
            raise Uncovered("a tuple is wanted")
        asked = [name for name in _ASKED if name not in self._answers.asked]
        if any(getattr(config, name, False) for name in (*asked, "is_training")):
            raise Uncovered("its configuration asks for more than masks and classes")
        if not isinstance(pixels, Tensor) or pixels.ndim != 4 or pixels.shape[1] != 3:
            raise Uncovered("pixel_values are no (B, 3, H, W)")
        if torch.compiler.is_compiling() or torch.jit.is_tracing():  # type: ignore[attr-defined]
            raise Uncovered("it is traced")
        if torch.is_grad_enabled():
            wanted = pixels.requires_grad or any(p.requires_grad for p in model.parameters())
            if wanted:
                raise Uncovered("gradients are on: call it under torch.inference_mode()")
        some = next(model.parameters())
        if pixels.device != some.device or pixels.dtype != some.dtype:
            raise Uncovered("pixel_values are of another type, or elsewhere, than the weights")
        _check_modules(model, self._modules)

    def __getstate__(self) -> dict[str, Any]:
        # Our network is made again at the first call: in a copy it would share nothing.
        return {"model": self.model}

    def __getattr__(self, name: str) -> Any:
        """What a copy does not have yet."""
        if name in ("shared", "_answers", "_modules", "_told", "__signature__"):
            self._build()
            return self.__dict__[name]
        raise AttributeError(name)


def _check_modules(model: Any, modules: list[nn.Module]) -> None:
    """See that nobody else is at work inside the model.

    Raises:
        Uncovered: somebody is.
    """
    if getattr(model, "hf_quantizer", None) is not None:
        raise Uncovered("weights are quantised")
    for module in modules:
        hooks = (*module._forward_hooks.values(), *module._forward_pre_hooks.values())
        # Hooks of its own collect hidden states, for calls that ask for them.
        if any(not _of_transformers(hook) for hook in hooks):
            raise Uncovered(f"a hook is on a {type(module).__name__} within")
        if "forward" in module.__dict__:
            raise Uncovered(f"the forward of a {type(module).__name__} within is replaced")
        if module.training:
            raise Uncovered(f"a {type(module).__name__} within trains")


def _of_transformers(hook: Any) -> bool:
    return str(getattr(hook, "__module__", "")).startswith("transformers.")
