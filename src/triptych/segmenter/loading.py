"""From a name to a segmenter: finds the checkpoint, the device, the arithmetic and the engine."""

from __future__ import annotations

from pathlib import Path

import torch

from triptych.checkpoints.bundled import bundled
from triptych.checkpoints.catalogue import hub_settings
from triptych.checkpoints.hub import fetch
from triptych.checkpoints.load import read_checkpoint
from triptych.checkpoints.types import weight_type
from triptych.engines.base import PRECISIONS
from triptych.engines.folder import read_exported
from triptych.engines.registry import check_engine
from triptych.errors import TriptychError
from triptych.segmenter.segmenter import Segmenter


def load(
    name_or_path: str | Path,
    device: str | torch.device = "auto",
    dtype: torch.dtype | str | None = None,
    *,
    revision: str | None = None,
    token: str | bool | None = None,
    engine: str = "auto",
    precision: str = "auto",
) -> Segmenter:
    """Load a checkpoint.

    Args:
        name_or_path: one of:

            - the name of a bundled checkpoint ("street");
            - a folder, in our format or in that of transformers (``./street`` where a bundled
              one has the same name);
            - a file of weights that lies beside its ``config.json``;
            - a file of a network's authors: SegFormer's ``.pth``, Mask2Former's ``.pkl``;
            - a model of the Hugging Face hub ("facebook/mask2former-swin-tiny-coco-panoptic"),
              which is fetched once; ``OWNER/MODEL@REVISION`` for one that is not its newest.
        device: where to compute; "auto" is the GPU where there is one.
        dtype: type of the weights, as ``torch.float16`` or by its name, "float16"; "auto" is what
            the file has. float32 by default.
        revision: branch, tag or commit on the hub.
        token: for private models of the hub.
        engine: what runs the network: "eager", "compile", "onnx" or "openvino"; see
            docs/engines.md. "auto" is the one that the checkpoint was exported for, or "eager".
        precision: arithmetic of the network: "fp32", "bf16" or "fp16". "auto" is the one that
            the checkpoint was exported with, or that of the weights.

    Raises:
        TriptychError: there is no such checkpoint, it is damaged, foreign or not supported, there
            is no such device, type, engine or precision, or the engine is not installed.
    """
    numbers = weight_type(dtype)
    arithmetic = find_precision(precision)
    if engine != "auto":
        check_engine(engine)
    where = find_device(device)
    path = find_checkpoint(name_or_path, revision, token)
    # A folder of the same name is somebody's own.
    name = "" if Path(name_or_path).exists() else str(name_or_path)
    model, config = read_checkpoint(path, numbers)
    exported = read_exported(path) if path.is_dir() else None
    if exported and engine in ("auto", exported.engine):
        engine = exported.engine
        arithmetic = find_precision(exported.precision if precision == "auto" else precision)
    segmenter = Segmenter(
        model.to(where),
        config.preprocess,
        config.classes,
        hub_settings(name, config.readings) if name else config.readings,
        name=str(name_or_path),
        autocast=arithmetic,
        family=config.family,
        arguments=config.arguments,
        training=config.training,
        notes=config.notes,
        engine="eager" if engine == "auto" else engine,
        exported=exported,
    )
    return segmenter if config.regroup is None else segmenter.regroup(config.regroup)


def find_checkpoint(
    name_or_path: str | Path, revision: str | None = None, token: str | bool | None = None
) -> Path:
    """The folder or file of a checkpoint; see :func:`load`.

    Raises:
        TriptychError: there is none of this name.
    """
    known = bundled()
    if str(name_or_path) in known and isinstance(name_or_path, str):
        return known[name_or_path]
    path = Path(name_or_path)
    if path.exists():
        return path
    if isinstance(name_or_path, Path):
        raise TriptychError(f"{path}: there is no such folder or file")
    return fetch(name_or_path, revision, token)


def find_device(device: str | torch.device) -> torch.device:
    """The device called ``device``; "auto" is the GPU where there is one.

    Raises:
        TriptychError: it is not there.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        where = torch.device(device)
        torch.empty(0, dtype=torch.float32, device=where)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise TriptychError(f"no device {str(device)!r} here; use auto or cpu") from error
    return where


def find_precision(name: str) -> torch.dtype | None:
    """The type of arithmetic called ``name``, for ``Segmenter.autocast``; None for fp32, "auto".

    Raises:
        TriptychError: there is none of this name.
    """
    for dtype, known in PRECISIONS.items():
        if name in ("auto", known):
            return dtype
    known = ", ".join(dict.fromkeys(PRECISIONS.values()))
    raise TriptychError(f"no precision is called {name!r}; choose from {known}")
