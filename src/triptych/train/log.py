"""What a run tells: JSON lines in a file, a bar or plain lines on the console, TensorBoard."""

from __future__ import annotations

import contextlib
import json
import math
import resource
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from triptych.errors import TriptychError


class JsonLines:
    """A file of one JSON object a line, which a resumed run continues where it belongs."""

    def __init__(self, path: Path, start: int) -> None:
        """Open ``path`` and drop what stands behind its first ``start`` bytes.

        Those lines tell of steps after the checkpoint, which are about to be done again.
        """
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = open(path, "ab")  # noqa: SIM115  (closed by close)
        except OSError as error:
            raise TriptychError(
                f"cannot write {path}: {error.strerror}; choose another --out"
            ) from None
        self._file.truncate(min(start, self._file.tell()))

    def write(self, record: Mapping[str, Any]) -> None:
        """Append one line and hand it to the system, so that a killed run loses no line."""
        self._file.write(json.dumps(record).encode() + b"\n")
        self._file.flush()

    def position(self) -> int:
        """Length in bytes of what has been written."""
        return self._file.seek(0, 2)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def memory_megabytes(device: torch.device) -> float:
    """Peak memory so far, in MiB: of the GPU where one is used, else of the process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


class RunLog:
    """All reports of a run, for the main process."""

    def __init__(
        self,
        out: Path,
        *,
        first_step: int,
        steps: int,
        log_bytes: int,
        seconds: float,
        tensorboard: bool,
        console: Console | None = None,
    ) -> None:
        self._writer = _tensorboard(out / "tensorboard", first_step) if tensorboard else None
        self._lines = JsonLines(out / "log.jsonl", log_bytes)
        self._console = console or Console(stderr=True, highlight=False, soft_wrap=True)
        self._steps = steps
        self._seconds = seconds
        self._began = self._told = time.monotonic()
        self._done = 0
        self._bar: Progress | None = None
        self._task = TaskID(0)
        if self._console.is_terminal:
            self._bar = Progress(
                TextColumn("step"),
                MofNCompleteColumn(),
                BarColumn(),
                TextColumn("{task.fields[text]}"),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
                console=self._console,
            )
            self._task = self._bar.add_task("train", total=steps, completed=first_step, text="")
            self._bar.start()

    def __enter__(self) -> RunLog:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def say(self, text: str) -> None:
        """One line for the person at the console."""
        self._console.print(text, markup=False)

    def event(self, kind: str, record: Mapping[str, Any]) -> None:
        """One line for the file."""
        self._lines.write({"event": kind, **record})

    def step(self, record: Mapping[str, Any]) -> None:
        """Report a finished step: ``step``, ``loss``, ``losses``, ``seconds``..."""
        self.event("step", record)
        if self._writer is not None:
            self._scalars(
                {"loss": record["loss"], "learning_rate": record["learning_rate"]}, record["step"]
            )
            self._scalars({f"losses/{k}": v for k, v in record["losses"].items()}, record["step"])

    def advance(self, step: int, loss: float) -> None:
        """Move the progress display to ``step`` finished steps."""
        self._done += 1
        now = time.monotonic()
        each = (now - self._began) / self._done
        if self._bar is not None:
            self._bar.update(self._task, completed=step, text=f"loss {loss:.3f}, {each:.2f} s/step")
        elif now - self._told >= self._seconds or step == self._steps:
            self._told = now
            left = _duration((self._steps - step) * each)
            self.say(f"step {step}/{self._steps}  loss {loss:.3f}  {each:.2f} s/step  {left} left")

    def evaluation(self, step: int, figures: Mapping[str, float]) -> None:
        """Report the figures of an evaluation after ``step`` steps.

        The console leaves out the finer ones, which have a ``/`` in their name.
        """
        # JSON has no nan, which figures are where they are undefined.
        plain = {name: None if math.isnan(v) else v for name, v in figures.items()}
        self.event("evaluation", {"step": step, **plain})
        if self._writer is not None:
            self._scalars({f"evaluation/{name}": v for name, v in figures.items()}, step)
        told = [f"{name} {v:.4g}" for name, v in figures.items() if "/" not in name]
        self.say(f"step {step}: {', '.join(told)}")

    def position(self) -> int:
        """Length of the log file in bytes."""
        return self._lines.position()

    def close(self) -> None:
        """Stop the bar and close the files."""
        if self._bar is not None:
            self._bar.stop()
        if self._writer is not None:
            self._writer.close()
        self._lines.close()

    def _scalars(self, values: Mapping[str, float], step: int) -> None:
        assert self._writer is not None
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    if minutes < 1:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 120 else f"{minutes / 60:.1f} h"


def _tensorboard(folder: Path, first_step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise TriptychError(
            "logging.tensorboard is true, but TensorBoard is not installed; "
            "run: pip install '.[tensorboard]' in the checkout"
        ) from None
    with contextlib.suppress(FileExistsError):
        folder.mkdir(parents=True)
    return SummaryWriter(str(folder), purge_step=first_step + 1)
