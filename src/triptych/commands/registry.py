"""The commands of the command line: one file each, a dataclass whose docstrings are its help."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import tyro

from triptych.commands.bench import Bench
from triptych.commands.convert import Convert
from triptych.commands.data import Data
from triptych.commands.demo import Demo
from triptych.commands.eval import Eval
from triptych.commands.export import Export
from triptych.commands.models import Models
from triptych.commands.predict import Predict
from triptych.commands.serve import Serve
from triptych.commands.train import Train


class Command(Protocol):
    """Parsed arguments, ready to run."""

    def run(self) -> int:
        """Do it and return the exit code."""
        ...


COMMANDS: Mapping[str, type[Command]] = {
    "demo": Demo,
    "predict": Predict,
    "serve": Serve,
    "train": Train,
    "eval": Eval,
    "data": Data,
    "models": Models,
    "convert": Convert,
    "export": Export,
    "bench": Bench,
}
"""In the order of ``triptych --help``. Adding a command is one file and one line here."""


def parse(arguments: Sequence[str]) -> Command:
    """Turn arguments into a command; prints and raises SystemExit for help and mistakes."""
    command: Command = tyro.extras.subcommand_cli_from_dict(
        dict(COMMANDS),
        prog="triptych",
        description="Image segmentation: one mask set, read three ways. See also: --version.",
        args=arguments,
        config=(tyro.conf.FlagCreatePairsOff,),
    )
    return command
