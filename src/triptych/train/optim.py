"""AdamW with layer-wise learning rates, and the schedule of the learning rate."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from triptych.errors import TriptychError
from triptych.train.recipe import OptimisationRecipe

NORMS = (nn.LayerNorm, nn.GroupNorm, nn.modules.batchnorm._BatchNorm, nn.RMSNorm)


def parameter_groups(model: nn.Module, recipe: OptimisationRecipe) -> list[dict[str, Any]]:
    """Sort the trainable parameters into at most four groups.

    The backbone (``model.backbone``) learns at ``learning_rate * backbone_factor``. Norms,
    embeddings and everything of fewer than two dimensions (biases, layer scales) do not decay:
    pulling them to zero moves the function without regularising it.

    Returns:
        Groups with ``params``, ``names``, ``peak`` (learning rate at the top of the schedule) and
        ``weight_decay``, in an order that depends only on the model.

    Raises:
        TriptychError: a backbone factor is set and the model has no backbone, or nothing learns.
    """
    factor = recipe.backbone_factor
    if factor != 1 and not hasattr(model, "backbone"):
        raise TriptychError(
            f"optimisation.backbone_factor is {factor}, but {type(model).__name__} has no "
            "backbone; set it to 1"
        )
    groups: dict[tuple[bool, bool], dict[str, Any]] = {}
    seen: set[int] = set()
    for owner_name, owner in model.named_modules():
        exempt = isinstance(owner, (*NORMS, nn.Embedding))
        for leaf, parameter in owner.named_parameters(recurse=False):
            name = f"{owner_name}.{leaf}" if owner_name else leaf
            in_backbone = name.startswith("backbone.")
            if in_backbone and factor == 0:
                parameter.requires_grad_(False)
            if not parameter.requires_grad or id(parameter) in seen:
                continue
            seen.add(id(parameter))  # a tied weight is updated once
            decays = not exempt and parameter.ndim >= 2
            group = groups.setdefault(
                (in_backbone, decays),
                {
                    "params": [],
                    "names": [],
                    "peak": recipe.learning_rate * (factor if in_backbone else 1.0),
                    "weight_decay": recipe.weight_decay if decays else 0.0,
                },
            )
            group["params"].append(parameter)
            group["names"].append(name)
    if not groups:
        raise TriptychError("the model has no parameter that learns; nothing can be trained")
    return list(groups.values())


def adamw(model: nn.Module, recipe: OptimisationRecipe) -> torch.optim.AdamW:
    """Build AdamW (Loshchilov and Hutter, ICLR 2019) over :func:`parameter_groups`."""
    # The fused update is one pass over memory; the other forms take several on the CPU.
    return torch.optim.AdamW(
        parameter_groups(model, recipe), lr=recipe.learning_rate, betas=recipe.betas, fused=True
    )


def schedule(recipe: OptimisationRecipe) -> Callable[[int], float]:
    """Give the function from a step, counted from 0, to a factor in (0, 1] on the peak rate."""
    warmup, steps = recipe.warmup_steps, recipe.steps

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / (warmup + 1)
        progress = (step - warmup) / (steps - warmup)
        if recipe.schedule == "poly":
            return (1 - progress) ** recipe.power
        if recipe.schedule == "cosine":
            return (1 + math.cos(math.pi * progress)) / 2
        return 1.0

    return factor


def set_learning_rate(optimiser: torch.optim.Optimizer, factor: float) -> float:
    """Set every group to ``factor`` times its peak; return the rate of the highest group."""
    for group in optimiser.param_groups:
        group["lr"] = group["peak"] * factor
    return max(group["lr"] for group in optimiser.param_groups)
