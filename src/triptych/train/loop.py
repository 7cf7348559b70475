"""The training loop: a plain loop over steps, which can be cut anywhere and goes on the same."""

from __future__ import annotations

import fcntl
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from triptych.atomic import atomic_write
from triptych.errors import TriptychError
from triptych.train import optim
from triptych.train.checkpoint import CheckpointFolder, Position
from triptych.train.ema import ModelEMA
from triptych.train.feed import StepIndices, batches, make_loader, seed_step
from triptych.train.log import RunLog, memory_megabytes
from triptych.train.parts import Parts
from triptych.train.processes import ProcessGroup, choose_device
from triptych.train.recipe import RECIPE, Recipe, differences
from triptych.train.remarks import raise_queries
from triptych.train.step import (
    LossModule,
    autocast_type,
    check_finite,
    prepare_mode,
    reach_step,
    to_device,
)
from triptych.train.stopping import TIME_IS_UP, StopRequest

MODEL = "model"
"""The folder of the trained model, in that of its run."""

FIRST_BATCH = "first-batch.png"
"""What the first step teaches, likewise."""


def run(
    recipe: Recipe,
    parts: Parts,
    out: Path,
    *,
    resume: bool = False,
    group: ProcessGroup | None = None,
) -> int:
    """Train ``parts`` as ``recipe`` says, in the folder ``out``.

    Returns:
        0 when all steps are done; else why it stopped before: the number of a signal, or
        ``TIME_IS_UP``.

    Raises:
        TriptychError: see :func:`triptych.train.runs.train_recipe`.
    """
    group = group or ProcessGroup(choose_device(recipe.optimisation.device))
    with ExitStack() as stack:
        if group.is_main:
            stack.enter_context(_sole_owner(out))
        stop = stack.enter_context(StopRequest(recipe.time_limit))
        training = Training(recipe, parts, out, group)
        training.start(resume, stack)
        reason = training.steps(stop)
        if group.is_main and reason in (0, TIME_IS_UP) and parts.export is not None:
            told = parts.export(training.average.model, out / MODEL, training.done)
            if told:
                training.tell(told)
        return reason


class Training:
    """A run in progress, on one process."""

    def __init__(self, recipe: Recipe, parts: Parts, out: Path, group: ProcessGroup) -> None:
        self.recipe, self.parts, self.out, self.group = recipe, parts, out, group
        self.model = parts.model.to(group.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimiser = optim.adamw(self.model, recipe.optimisation)
        self.factor = optim.schedule(recipe.optimisation)
        self.average = ModelEMA(self.model, recipe.optimisation.ema_decay)
        self.autocast = autocast_type(recipe.optimisation.precision, group.device)
        self.checkpoints = CheckpointFolder(out / "checkpoints", recipe.checkpoint.keep)
        self.log: RunLog | None = None
        self.done = 0
        self.crowded = False
        self.saved = time.monotonic()

    def start(self, resume: bool, stack: ExitStack) -> None:
        """Restore the newest checkpoint where asked for, and open the log (main process)."""
        if self.checkpoints.paths() and not resume:
            raise TriptychError(
                f"{self.out} holds a run already; go on with --resume auto, or choose another --out"
            )
        position = self.checkpoints.load_newest(
            self.model, self.average.model, self.optimiser, say=self._say, check=self._check
        ) or Position(0, 0, "")
        self.done = position.step
        if not self.group.is_main:
            return
        self.checkpoints.remove_leftovers()
        with atomic_write(self.out / RECIPE) as path:
            path.write_text(self.recipe.to_yaml(), encoding="utf-8")
        self.log = stack.enter_context(
            RunLog(
                self.out,
                first_step=self.done,
                steps=self.recipe.optimisation.steps,
                log_bytes=position.log_bytes,
                seconds=self.recipe.logging.seconds,
                tensorboard=self.recipe.logging.tensorboard,
            )
        )
        facts = {
            "step": self.done,
            "parameters": sum(p.numel() for p in self.model.parameters()),
            "device": str(self.group.device),
            "precision": "fp32" if self.autocast is None else "bf16",
            "processes": self.group.world,
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
        }
        self.log.event("start", facts)
        self.log.say(", ".join(f"{name} {value}" for name, value in facts.items()))
        for line in self.parts.remarks:
            self.tell(line)
        if self.done == 0 and self.recipe.evaluation.at_start and self.parts.evaluate is not None:
            self.log.evaluation(0, self.parts.evaluate(self.average.model, 0))

    def steps(self, stop: StopRequest) -> int:
        """Do the steps that are left; return 0, or the reason to stop before the last."""
        settings, group = self.recipe.optimisation, self.group
        module = LossModule(
            self.model,
            self.parts.criterion,
            mean=self.recipe.input.mean,
            std=self.recipe.input.std,
            autocast=self.autocast,
            checkpointing=settings.checkpointing,
            mean_over_processes=group.mean_number,
        ).to(group.device)
        wrapped: Any = module
        if group.world > 1:
            wrapped = DistributedDataParallel(module, find_unused_parameters=True)
        prepare_mode(self.model, self.recipe.model.freeze_norm)
        feed = self._feed()
        for step in range(self.done, settings.steps):
            began = time.perf_counter()
            waited = 0.0
            losses: dict[str, Tensor] = {}
            names: list[str] = []
            reach_step(self.model, step + 1)
            for part in range(settings.accumulate):
                asked = time.perf_counter()
                pixels, targets, part_names = next(feed)
                waited += time.perf_counter() - asked
                if step == part == 0:
                    self._show(pixels, targets, part_names)
                self._tell_crowded(targets, part_names)
                seed_step(settings.seed, step, part, group.rank)
                pixels = pixels.to(group.device, non_blocking=True)
                targets = [to_device(target, group.device) for target in targets]
                last_part = part == settings.accumulate - 1
                with nullcontext() if last_part or group.world == 1 else wrapped.no_sync():
                    try:
                        terms = wrapped(pixels, targets)
                    except TriptychError as error:  # it knows the place in the batch at most
                        images = ", ".join(part_names)
                        raise TriptychError(f"step {step + 1}: {error} (images {images})") from None
                    loss = torch.stack(list(terms.values())).sum() / settings.accumulate
                    check_finite(terms, loss, step=step + 1, names=part_names)
                    loss.backward()
                names += part_names
                for name, term in terms.items():
                    losses[name] = losses.get(name, 0) + term.detach() / settings.accumulate

            rate = optim.set_learning_rate(self.optimiser, self.factor(step))
            norm = torch.nn.utils.clip_grad_norm_(
                module.parameters(), settings.gradient_clip or float("inf"), foreach=True
            )
            check_finite({"gradient norm": norm}, norm, step=step + 1, names=names)
            self.optimiser.step()
            self.optimiser.zero_grad()
            if group.is_main:
                self.average.update(self.model, step)

            self.done = step + 1
            values = group.mean(torch.stack(list(losses.values()))).tolist()
            reason = group.highest(stop.reason) if self.done < settings.steps else 0
            if self.log is not None:
                self._report(
                    {
                        "step": self.done,
                        "loss": sum(values),
                        "losses": dict(zip(losses, values, strict=True)),
                        "learning_rate": rate,
                        "gradient_norm": float(norm),
                        "seconds": round(time.perf_counter() - began, 4),
                        "data_seconds": round(waited, 4),
                        "memory_megabytes": round(memory_megabytes(group.device)),
                    }
                )
                self._save_if_due(reason)
            if reason:
                return reason
        return 0

    def tell(self, text: str) -> None:
        """One line for the log and for the person at the console (main process)."""
        if self.log is not None:
            self.log.event("remark", {"text": text})
            self.log.say(text)

    def _tell_crowded(self, targets: list[Any], names: list[str]) -> None:
        """Say once that a view has more segments than the network has queries."""
        if self.log is None or self.parts.queries is None or self.crowded:
            return
        for target, name in zip(targets, names, strict=True):
            if (count := len(target.class_ids)) > self.parts.queries:
                self.crowded = True
                self.log.say(
                    f"{name} has {count} segments in view, more than the {self.parts.queries} "
                    f"queries of the network: the others teach nothing; {raise_queries(count)}"
                )
                return

    def _show(self, pixels: Tensor, targets: list[Any], names: list[str]) -> None:
        """Draw the first batch, so that wrong targets are seen at once."""
        if self.log is None or self.parts.picture is None:
            return
        with atomic_write(self.out / FIRST_BATCH) as path:
            self.parts.picture(pixels, targets, names).save(path, "PNG")
        self.log.say(f"targets of the first images, to be looked at: {self.out / FIRST_BATCH}")

    def _feed(self) -> Iterator[tuple[Tensor, list[Any], list[str]]]:
        settings, data = self.recipe.optimisation, self.recipe.data
        indices = StepIndices(
            settings.batch_size,
            settings.accumulate,
            range(self.done, settings.steps),
            self.group.rank,
            self.group.world,
        )
        return batches(
            make_loader(
                self.parts.dataset,
                indices,
                self.parts.collate,
                workers=data.workers,
                prefetch=data.prefetch,
                pin=self.group.device.type == "cuda",
            )
        )

    def _report(self, record: dict[str, Any]) -> None:
        """Log a finished step, and evaluate when it is time to."""
        assert self.log is not None
        last = self.done == self.recipe.optimisation.steps
        if self.done % self.recipe.logging.every == 0 or last:
            self.log.step(record)
        self.log.advance(self.done, record["loss"])
        every = self.recipe.evaluation.every
        if self.parts.evaluate is not None and every and (self.done % every == 0 or last):
            self.log.evaluation(self.done, self.parts.evaluate(self.average.model, self.done))

    def _save_if_due(self, reason: int) -> None:
        """Write a checkpoint after so many steps or seconds, at the end, and before stopping."""
        assert self.log is not None
        due = self.recipe.checkpoint
        if (
            reason
            or self.done == self.recipe.optimisation.steps
            or (due.steps is not None and self.done % due.steps == 0)
            or (due.seconds is not None and time.monotonic() - self.saved >= due.seconds)
        ):
            position = Position(self.done, self.log.position(), self.recipe.to_yaml())
            self.checkpoints.save(position, self.model, self.average.model, self.optimiser)
            self.saved = time.monotonic()

    def _say(self, text: str) -> None:
        if self.group.is_main:
            print(text, file=sys.stderr)

    def _check(self, position: Position) -> None:
        """Refuse to go on with another recipe: the result would be neither run's."""
        changed = differences(position.recipe, self.recipe)
        if changed:
            raise TriptychError(
                f"the run in {self.out} was started with another recipe: {', '.join(changed)} "
                f"changed; undo that (see {self.out / RECIPE}) or choose another --out"
            )


@contextmanager
def _sole_owner(out: Path) -> Iterator[None]:
    """Keep a second training out of the folder; the system drops the lock of a killed one.

    Raises:
        TriptychError: another process trains there, or the folder cannot be written.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        with open(out / ".lock", "w") as file:
            # Of the process, not of the open file: worker processes that outlive a killed
            # training for some seconds do not inherit it.
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
    except BlockingIOError:
        raise TriptychError(f"another training is running in {out}; choose another --out") from None
    except OSError as error:
        raise TriptychError(f"cannot write to {out}: {error.strerror or error}") from None
