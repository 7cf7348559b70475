"""What can be loaded and what can be built, as a table; without importing torch."""

from __future__ import annotations

import json
import math
from pathlib import Path

from safetensors import safe_open

from triptych.backbones.registry import BACKBONES
from triptych.models.registry import FAMILIES
from triptych.weights.bundled import bundled


def models() -> str:
    """A table of the bundled checkpoints, and the names that recipes may use."""
    lines = ["Checkpoints that come with Triptych (--model NAME):"]
    lines += [f"  {name}: {_describe(folder)}" for name, folder in bundled().items()] or ["  none"]
    lines += ["Others: --model FOLDER, which holds config.json and model.safetensors.", ""]
    lines += [f"Families for training: {', '.join(FAMILIES)}", f"Backbones: {', '.join(BACKBONES)}"]
    return "\n".join(lines)


def _describe(folder: Path) -> str:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    weights = folder / "model.safetensors"
    with safe_open(weights, framework="np") as file:
        shapes = [file.get_slice(name).get_shape() for name in file.keys()]  # noqa: SIM118
    numbers = sum(math.prod(shape) for shape in shapes)
    things = [entry["name"] for entry in config["classes"] if entry["thing"]]
    return (
        f"{config['family']}, {numbers / 1e6:.1f} million numbers, "
        f"{weights.stat().st_size / 1e6:.1f} MB, {len(config['classes'])} classes"
        + (f", of which countable: {', '.join(things)}" if things else "")
    )
