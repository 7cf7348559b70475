"""Folders in the format of transformers, as they lie on the Hugging Face hub.

Nothing of transformers is imported: two JSON files describe a network and its preprocessing, a
third file holds its tensors.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from triptych.checkpoints.folder import CONFIG, ModelConfig, read_json, write_json, write_weights
from triptych.checkpoints.foreign import foreign_names
from triptych.checkpoints.keymap import Rules, adopt_published, share_known, to_theirs
from triptych.checkpoints.labels import Labels, read_labels, write_labels
from triptych.checkpoints.names.family import Published
from triptych.checkpoints.names.registry import family
from triptych.checkpoints.preprocessor import read_preprocessor, write_preprocessor
from triptych.checkpoints.skeleton import skeleton
from triptych.checkpoints.tensors import open_tensors
from triptych.checkpoints.types import WeightType, numeric_type
from triptych.checkpoints.wrappers import unwrapped
from triptych.errors import TriptychError
from triptych.networks.models.registry import FAMILIES
from triptych.readings.settings import ReadingSettings

PREPROCESSOR = "preprocessor_config.json"
PROCESSOR = "processor_config.json"
"""What newer versions write: the image processor's settings are a part of it."""

log = logging.getLogger(__name__)


def read_transformers(
    folder: Path, dtype: WeightType = None, weights: Path | None = None
) -> tuple[nn.Module, ModelConfig]:
    """Build the network of a folder that transformers wrote, with its weights, on the CPU.

    It is built without memory for its parameters, which then become the tensors of the file; those
    are mapped into memory, and copied only where our layout or the type differs.

    Args:
        folder: holds ``config.json``, weights, and perhaps ``preprocessor_config.json`` or
            ``processor_config.json`` (without them, images are prepared as the family's processor
            does by default).
        dtype: floating-point type of the weights; float32 by default, whatever the file has.
        weights: the file with the weights, if not one of the usual names in ``folder``.

    Raises:
        TriptychError: a file is missing or damaged; the family, or an option, is not supported; or
            the weights are not those of the network: unknown and missing names and differing
            shapes are told.
    """
    config = read_description(folder)
    model = skeleton(folder / CONFIG, config.family, config.arguments)
    rules = _published(config.family).rules
    source = weights or folder
    with open_tensors(source) as opened:
        tensors = unwrapped(source, opened, lambda names: share_known(names, rules) > 0.5)
        try:
            adopt_published(model, tensors, rules, numeric_type(dtype, tensors))
        except TriptychError as error:
            raise TriptychError(f"{source}: {foreign_names(tensors) or error}") from error
    return model, config


def write_transformers(
    folder: Path,
    config: ModelConfig,
    state: Mapping[str, Tensor],
    dtype: torch.dtype | None = None,
) -> None:
    """Write a folder that transformers' ``from_pretrained`` loads.

    Args:
        folder: made if it is not there; of an older checkpoint in it, three files are replaced.
        config: what to build.
        state: the network's ``state_dict``.
        dtype: floating-point type in the file; as in ``state`` by default.

    Raises:
        TriptychError: transformers has no such network or preprocessing, and no place for a
            regrouping; the folder cannot be written, or a weight is not finite (in that type).
    """
    if config.regroup is not None:
        raise TriptychError(
            "the format of transformers has no place for regrouped classes; save in the format of "
            "Triptych, or before the classes are regrouped"
        )
    published = _published(config.family)
    entries = {
        "architectures": [published.architecture],
        **published.write(config.arguments),
        **write_labels(config.classes),
    }
    processor = write_preprocessor(config.preprocess, published.processor)
    tensors = to_theirs(state, published.rules) | published.unused(config.arguments)
    write_weights(folder, tensors, dtype)
    write_json(folder / PREPROCESSOR, processor)
    write_json(folder / CONFIG, entries)
    _tell_lost_settings(folder, config.readings)


def _tell_lost_settings(folder: Path, readings: ReadingSettings) -> None:
    """Warn of settings for which their format has no place."""
    left = read_description(folder).readings.to_dict()
    lost = [f"{name} {value}" for name, value in readings.to_dict().items() if value != left[name]]
    if lost:
        log.warning(
            "%s: the format of transformers has no place for the checkpoint's %s; give them "
            "with each reading, or save in the format of Triptych",
            folder,
            ", ".join(lost),
        )


def read_description(folder: Path, encoder: bool = False) -> ModelConfig:
    """Everything that a folder of transformers says about its network but the weights.

    Args:
        folder: holds ``config.json``.
        encoder: take a network that has the encoder alone, with all else as transformers would
            build it.

    Raises:
        TriptychError: ``config.json`` is missing or damaged, or the family, or an option, is not
            supported.
    """
    path = folder / CONFIG
    entries = read_json(path)
    try:
        name = str(entries["model_type"])
        published = _published(name)
        _check_plain(entries)
        if not encoder:
            _check_head(folder, entries, published)
        arguments = published.read(entries)
        own = family(name).classes
        labels = read_labels(entries) if own is None else Labels(own, "the family's own")
    except TriptychError as error:
        told = str(error)
        raise TriptychError(told if told.startswith(str(folder)) else f"{path}: {told}") from error
    return ModelConfig(
        family=name,
        arguments=arguments,
        classes=labels.classes,
        preprocess=_read_preprocessor(folder, published),
        readings=family(name).readings.replace(things_only=labels.panoptic),
        notes={"format": "transformers", "classes": labels.source},
    )


def _read_preprocessor(folder: Path, published: Published) -> Any:
    path, settings = _image_processor(folder)
    try:
        if not isinstance(settings, dict):
            raise TriptychError("holds no settings in braces")
        return read_preprocessor(settings, published.processor)
    except TriptychError as error:
        raise TriptychError(f"{path}: {error}") from error


def _image_processor(folder: Path) -> tuple[Path, Any]:
    """The settings of the image processor, and their file; in the order of AutoImageProcessor."""
    path = folder / PROCESSOR
    whole = read_json(path) if path.exists() else None
    if isinstance(whole, dict) and "image_processor" in whole:
        return path, whole["image_processor"]
    path = folder / PREPROCESSOR
    return path, read_json(path) if path.exists() else {}


def _published(name: str) -> Published:
    found = family(name).published if name in FAMILIES else None
    if found is None:
        known = ", ".join(one for one in FAMILIES if family(one).published)
        raise TriptychError(
            f"the family {name!r} is not supported in the format of transformers; supported are "
            f"{known}"
        )
    return found


def _check_plain(entries: Mapping[str, Any]) -> None:
    """Refuse a network whose weights are quantised."""
    told = entries.get("quantization_config")
    if told:
        method = told.get("quant_method") if isinstance(told, dict) else None
        raise TriptychError(
            f"is of a quantised checkpoint{f' ({method})' if method else ''}, which is not read; "
            "give the one that it was made from"
        )


def encoder_rules(entries: Any) -> Rules | None:
    """The names of tensors of a ``config.json`` that describes an encoder alone; else None."""
    name = str(entries.get("model_type")) if isinstance(entries, dict) else ""
    published = family(name).published if name in FAMILIES else None
    if published is None:
        return None
    named = entries.get("architectures") or ()
    return next((published.encoders[one] for one in named if one in published.encoders), None)


def no_head(path: Path) -> TriptychError:
    """That a file or folder holds an encoder alone, and what it is good for."""
    return TriptychError(
        f"{path}: is an encoder without a head that segments; train one: triptych train --model "
        f"{path} --data DATA"
    )


def _check_head(folder: Path, entries: Mapping[str, Any], published: Published) -> None:
    """Refuse a network that has other heads, or none: a classifier, or a bare backbone."""
    named = entries.get("architectures")
    if encoder_rules(entries):
        raise no_head(folder)
    if named and published.architecture not in named:
        raise TriptychError(
            f"is of a {', '.join(map(str, named))}, which does not segment; get a "
            f"{published.architecture}"
        )
