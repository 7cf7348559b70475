"""Encoders alone, as they were trained to classify images: what a new network may start from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from triptych.checkpoints.folder import CONFIG, ModelConfig, read_json
from triptych.checkpoints.keymap import Rules, of_type, share_known, to_ours
from triptych.checkpoints.original import encoder_of, is_known, original_arguments
from triptych.checkpoints.tensors import open_tensors
from triptych.checkpoints.transformers import encoder_rules, read_description
from triptych.checkpoints.wrappers import unwrapped
from triptych.classes import Classes
from triptych.errors import TriptychError
from triptych.networks.models.registry import build

BACKBONE = "backbone."
"""What the encoder's tensors begin with in our networks."""


def read_encoder(path: Path) -> tuple[nn.Module, ModelConfig] | None:
    """Build a network around an encoder; all of it but ``backbone`` has random weights.

    Args:
        path: a folder in the format of transformers, a file of weights in one, or a file of the
            encoder's authors.

    Returns:
        The network and its configuration, in which the classes stand for nothing. None if there is
        a whole network, or something else.

    Raises:
        TriptychError: it is an encoder, but is damaged or does not fit its description.
    """
    folder, weights = (path, None) if path.is_dir() else (path.parent, path)
    if (folder / CONFIG).exists():
        rules = encoder_rules(read_json(folder / CONFIG))
        if rules is None:
            return None
        config = read_description(folder, encoder=True)
        return _filled(weights or folder, config, rules), config
    if weights is None:
        return None
    with open_tensors(weights) as opened:
        tensors = unwrapped(weights, opened, is_known)
        found = encoder_of(tensors)
        if found is None:
            return None
        family, original = found
        arguments = original_arguments(weights, original, tensors)
    config = ModelConfig(
        family=family,
        arguments=arguments,
        classes=Classes.of(["?"]),
        preprocess=original.preprocess(arguments),
        notes={"format": original.name, "file": weights.name},
    )
    return _filled(weights, config, original.rules), config


def _filled(source: Path, config: ModelConfig, rules: Rules) -> nn.Module:
    """The network with the weights of the encoder."""
    model = build(config.family, **config.arguments)
    own = {n: t for n, t in model.state_dict().items() if n.startswith(BACKBONE)}
    with open_tensors(source) as opened:
        tensors = unwrapped(source, opened, lambda names: share_known(names, rules) > 0.5)
        try:
            model.load_state_dict(_fitting(to_ours(tensors, rules), own), strict=False)
        except TriptychError as error:
            raise TriptychError(f"{source}: {error}") from error
    return model


def _fitting(given: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Any]:
    for what, names in (("lacks", own.keys() - given), ("does not know", given.keys() - own)):
        if names:
            raise TriptychError(f"does not fit {CONFIG}: the encoder {what} {sorted(names)[0]}")
    for name, tensor in given.items():
        shape, wanted = list(tensor.shape), list(own[name].shape)
        if shape != wanted:
            raise TriptychError(f"does not fit {CONFIG}: {name} is {shape}, not {wanted}")
    return {name: of_type(t, own[name], torch.float32, name) for name, t in given.items()}
