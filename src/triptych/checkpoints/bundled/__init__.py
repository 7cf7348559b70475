"""The checkpoints that are installed with the package."""

from __future__ import annotations

import importlib.resources
from pathlib import Path


def bundled() -> dict[str, Path]:
    """Name to checkpoint folder, in alphabetical order. Imports nothing heavy."""
    root = Path(str(importlib.resources.files(__name__)))
    return {config.parent.name: config.parent for config in sorted(root.glob("*/config.json"))}
