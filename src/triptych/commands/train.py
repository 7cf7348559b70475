"""``triptych train``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro


@dataclass(frozen=True)
class Train:
    """Train a model as a recipe says."""

    recipe: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RECIPE.yaml")]
    """What to train. On several GPUs, or in several processes:
    torchrun --nproc-per-node N -m triptych train RECIPE.yaml"""

    out: Path | None = None
    """Folder of the run, runs/NAME after the recipe by default. The model is OUT/model."""

    override: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """One value of the recipe, such as optimisation.steps=500. May be repeated."""

    resume: Literal["no", "auto"] = "no"
    """auto: go on from the newest checkpoint in OUT, if there is one. Ctrl-C writes one."""

    def run(self) -> int:
        """Train."""
        from triptych.train.loop import train_recipe

        train_recipe(self.recipe, self.out, list(self.override), self.resume == "auto")
        return 0
