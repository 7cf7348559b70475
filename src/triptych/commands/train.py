"""``triptych train``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro


@dataclass(frozen=True)
class Train:
    """Train a model as a recipe says, or a model on data by defaults (--model M --data D).

    Defaults are written down as a recipe, OUT/recipe.yaml, which can be edited and trained. Look at
    OUT/first-batch.png: the targets of the first images.
    """

    recipe: Annotated[Path | None, tyro.conf.Positional, tyro.conf.arg(metavar="RECIPE.yaml")] = (
        None
    )
    """What to train. On several GPUs, or in several processes:
    torchrun --nproc-per-node N -m triptych train RECIPE.yaml"""

    model: str | None = None
    """In place of a recipe: what to start from, a bundled checkpoint, the folder of one, or a model
    of the Hugging Face hub. Its class head is replaced; classes of the same name keep their
    weights."""

    data: Path | None = None
    """With --model: a folder of a usual layout, or a YAML file that describes one; see
    docs/data.md."""

    epochs: int | None = None
    """With --model: how often each image is seen; 10 by default, or more if they are few."""

    steps: int | None = None
    """With --model: how many steps, in place of epochs."""

    semantic_loss: float | None = None
    """With --model: weight of a loss on the class map itself, such as 2, beside the losses of the
    paper; see docs/fine-tuning.md. By default as the checkpoint was trained."""

    out: Path | None = None
    """Folder of the run, runs/NAME by default, after the recipe or the model and the data. The
    model is OUT/model."""

    override: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """One value of the recipe, such as optimisation.steps=500. May be repeated."""

    resume: Literal["no", "auto"] = "no"
    """auto: go on from the newest checkpoint in OUT, if there is one. Ctrl-C writes one."""

    def run(self) -> int:
        """Train."""
        from triptych.errors import TriptychError
        from triptych.train.runs import train_by_defaults, train_recipe

        overrides, resume = list(self.override), self.resume == "auto"
        if self.recipe is not None:
            for name in ("model", "data", "epochs", "steps", "semantic_loss"):
                if getattr(self, name) is not None:
                    option = name.replace("_", "-")
                    raise TriptychError(
                        f"--{option} goes without a recipe; change one by --override, such as "
                        "optimisation.steps=500"
                    )
            train_recipe(self.recipe, self.out, overrides, resume)
            return 0
        if self.model is None or self.data is None:
            raise TriptychError(
                "give a RECIPE.yaml, or --model and --data; see triptych train --help"
            )
        train_by_defaults(
            self.model,
            self.data,
            self.out,
            overrides,
            resume,
            epochs=self.epochs,
            steps=self.steps,
            semantic_loss=self.semantic_loss,
        )
        return 0
