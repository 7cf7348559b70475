"""Any checkpoint on this machine, of whichever format."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from triptych.checkpoints.folder import CONFIG, ModelConfig, read_folder, read_json
from triptych.checkpoints.foreign import adapter
from triptych.checkpoints.original import read_original
from triptych.checkpoints.transformers import read_transformers
from triptych.checkpoints.types import WeightType
from triptych.errors import TriptychError


def read_checkpoint(path: Path, dtype: WeightType = None) -> tuple[nn.Module, ModelConfig]:
    """Build the network of a checkpoint, with its weights, on the CPU.

    Args:
        path: a folder in our format or in that of transformers; a file of weights with its
            ``config.json`` beside it; or a file of a network's authors, which has none.
        dtype: floating-point type of the weights; float32 by default, whatever the file has.

    Raises:
        TriptychError: it is missing, damaged, foreign or not supported.
    """
    folder, weights = (path, None) if path.is_dir() else (path.parent, path)
    if told := adapter(folder):
        raise TriptychError(f"{folder}: {told}")
    if weights and not (folder / CONFIG).exists():
        return read_original(weights, dtype)
    entries = read_json(folder / CONFIG)
    if isinstance(entries, dict) and "format" in entries:
        return read_folder(folder, dtype, weights)
    if isinstance(entries, dict) and "model_type" in entries:
        return read_transformers(folder, dtype, weights)
    raise TriptychError(
        f'{folder / CONFIG}: is neither of Triptych (no "format") nor of transformers (no '
        '"model_type")'
    )
