"""All measurements of one network on one picture."""

from __future__ import annotations

import dataclasses
import functools
import os
import platform
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from triptych.bench.beside import Agreement, Theirs, compare_answers
from triptych.bench.engines import BesideEager, Pair
from triptych.bench.memory import Peak, resident
from triptych.bench.peaks import Peaks, measure_peaks
from triptych.bench.rounds import Spread, in_turns
from triptych.bench.subject import Subject
from triptych.bench.walk import REST, Needs, Seconds, Work, walk
from triptych.engines.eager import Eager
from triptych.errors import TriptychError
from triptych.image.preprocess import load_image
from triptych.mask_set import MaskSet

Rounds = Callable[[int], Iterable[int]]
"""Counts up to a number, perhaps with a bar that shows how far it is."""


@dataclass(frozen=True)
class StageTimes:
    """One stage of the way from a file to a drawing."""

    name: str
    seconds: Spread
    operations: int
    bytes: int
    floor: float | None
    """Seconds below which nobody can do it on this machine; None where it cannot be counted."""
    memory: int | None
    """Bytes that it needs beyond what there was before; None where the system does not tell."""


@dataclass(frozen=True)
class Throughput:
    """Pictures of one size that go through preprocessing and network together."""

    batch: int
    seconds: Spread
    rate: float
    """Pictures a second, by the median."""
    memory: int | None


@dataclass(frozen=True)
class Comparison:
    """The same piece of work here and elsewhere: in transformers, or by the engine eager."""

    name: str
    ours: Spread
    theirs: Spread
    ratio: Spread
    """How many times as long theirs takes, in the same round."""
    our_memory: int | None
    their_memory: int | None


@dataclass(frozen=True)
class BenchReport:
    """What was measured, and on what."""

    model: str
    family: str | None
    parameters: int
    picture: tuple[int, int]
    """Width and height in pixels, like the next."""
    entry: tuple[int, int]
    """The network's input."""
    precision: str
    engine: str
    preparation: float
    """Seconds that the engine took to make itself ready."""
    made_up: bool
    """Whether the readings were of a made-up mask set, the weights being random."""
    device: str
    threads: int
    torch: str
    rounds: int
    load: float | None
    """Programs that wanted a processor during the last minute, this one included."""
    peaks: Peaks
    stages: tuple[StageTimes, ...]
    whole: Spread
    """Seconds of all stages together."""
    memory: int | None
    """The most that the process had, weights included, beyond what it had before it loaded them."""
    throughput: tuple[Throughput, ...]
    against: str | None
    """What it was compared with, if with anything: "transformers" or "eager"."""
    beside: tuple[Comparison, ...]
    agreements: tuple[Agreement, ...]

    @property
    def agrees(self) -> bool:
        """Whether all comparisons keep to their limits."""
        return all(agreement.holds for agreement in self.agreements)


def first_walk(subject: Subject, start: int | None) -> int | None:
    """Take the picture through, and tell the most memory that was in use since ``start``.

    Args:
        subject: the network and the picture.
        start: bytes that the process had before the network was loaded, when the count of its
            peak began anew. Not used on a GPU, whose own memory counts.

    Returns:
        Bytes beyond ``start``, or None where the system does not tell.
    """
    device = subject.segmenter.device
    walk(subject, Seconds(device))
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    highest = resident("VmHWM")
    return None if start is None or highest is None else highest - start


def measure(
    subject: Subject,
    theirs: Theirs | BesideEager | None = None,
    *,
    rounds: int = 10,
    batches: Sequence[int] = (),
    memory: int | None = None,
    counted: Rounds = range,
    peaks: Peaks | None = None,
) -> BenchReport:
    """Measure a network on its picture: memory first, then time in rounds.

    Args:
        subject: the network and the picture.
        theirs: the same network in transformers or by the engine eager, to be compared.
        rounds: how often everything is timed, after once to warm up.
        batches: numbers of pictures to find the throughput of.
        memory: what :func:`first_walk` gave, when nothing else had been loaded yet.
        counted: gives the numbers of the rounds.
        peaks: what the machine can do; measured if not given.

    Raises:
        TriptychError: a number is below 1, or a batch does not fit into the memory.
    """
    if rounds < 1 or any(batch < 1 for batch in batches):
        raise TriptychError("rounds and batch sizes must be at least 1")
    segmenter = subject.segmenter
    device, precision = segmenter.device, segmenter.autocast or segmenter.dtype
    needs, work = Needs(device), Work()
    walk(subject, needs)
    with work:  # eager's operations, in the stages that the engine has
        walk(subject, work, Eager(segmenter.model))
    image = load_image(subject.file)
    batch = segmenter.preprocess([image])
    agreements, pairs, against = [], {}, None
    if isinstance(theirs, BesideEager):
        agreements, pairs, against = theirs.agreements(), theirs.pairs(), "eager"
    elif theirs:
        against = "transformers"
        agreements = compare_answers(segmenter, theirs, batch, subject.masks)
        pairs = _pairs(subject, theirs)
    together = {n: lambda n=n: segmenter.segment([image] * n, task=segmenter.task) for n in batches}
    peak = Peak(device)
    batch_memory = {n: peak.of(together[n]) for n in batches}
    pair_memory = {name: tuple(map(peak.of, both)) for name, both in pairs.items()}
    peaks = peaks or measure_peaks(device, precision)

    walks: list[dict[str, float]] = []

    def timed_walk() -> None:
        meter = Seconds(device)
        walk(subject, meter)
        walks.append(meter.spent)

    works: dict[str, Callable[[], Any]] = {"walk": timed_walk}
    works |= {f"batch {n}": work for n, work in together.items()}
    for name, (ours, other) in pairs.items():
        works |= {f"{name}, ours": ours, f"{name}, theirs": other}
    seconds = in_turns(works, counted(rounds), device)
    del walks[0]  # the one that warmed up

    def stage(name: str) -> StageTimes:
        operations, size = work.operations[name], work.bytes[name]
        return StageTimes(
            name,
            Spread.of([spent[name] for spent in walks]),
            operations,
            size,
            peaks.floor(operations, size) if operations or size else None,
            needs.needed[name],
        )

    def beside(name: str) -> Comparison:
        ours, other = seconds[f"{name}, ours"], seconds[f"{name}, theirs"]
        return Comparison(
            name,
            Spread.of(ours),
            Spread.of(other),
            Spread.of([b / a for a, b in zip(ours, other, strict=True)]),
            *pair_memory[name],
        )

    def throughput(n: int) -> Throughput:
        spread = Spread.of(seconds[f"batch {n}"])
        return Throughput(n, spread, n / spread.median, batch_memory[n])

    names = sorted(walks[0], key=lambda name: name == REST)  # the rest comes last
    return BenchReport(
        model=segmenter.name,
        family=segmenter.family,
        parameters=sum(parameter.numel() for parameter in segmenter.model.parameters()),
        picture=(image.shape[1], image.shape[0]),
        entry=(batch.pixels.shape[3], batch.pixels.shape[2]),
        precision=str(precision).removeprefix("torch."),
        engine=segmenter.engine.name,
        preparation=segmenter.engine.preparation,
        made_up=subject.masks is not None,
        device=_device_name(device),
        threads=torch.get_num_threads(),
        torch=torch.__version__,
        rounds=rounds,
        load=os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        peaks=peaks,
        stages=tuple(map(stage, names)),
        whole=Spread.of([sum(spent.values()) for spent in walks]),
        memory=memory,
        throughput=tuple(map(throughput, batches)),
        against=against,
        beside=tuple(map(beside, pairs)),
        agreements=tuple(agreements),
    )


def _pairs(subject: Subject, theirs: Theirs) -> dict[str, Pair]:
    """What is timed on both sides: the forward pass, and the readings of one mask set."""
    segmenter = subject.segmenter
    image = load_image(subject.file)
    pixels = segmenter.preprocess([image]).pixels.to(segmenter.device, segmenter.dtype)
    plain_pixels = pixels.contiguous()
    masks = subject.masks or segmenter.segment([image], task=segmenter.task)[0]

    def forward() -> Any:
        return segmenter.engine(pixels, segmenter.autocast)

    pairs: dict[str, Pair] = {"forward": (forward, lambda: theirs.forward(plain_pixels))}
    for name, read in theirs.readings(masks).items():
        pairs[name] = (functools.partial(_read_afresh, masks, name), read)
    return pairs


def _read_afresh(masks: MaskSet, name: str) -> Any:
    """One reading without what earlier ones have found out about the mask set."""
    return getattr(dataclasses.replace(masks), name)()


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        found = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    except OSError:  # not Linux
        found = None
    return found[1] if found else platform.processor() or platform.machine()
