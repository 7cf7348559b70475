"""The network and the three readings beside busy processes, by how idle threads wait.

    python benchmarks/busy.py --threads 2 --neighbours 1
    python benchmarks/busy.py --engine openvino --random mask2former --size 640x640

Each policy has a process of its own, since PyTorch reads the settings when it is loaded. All take
their turn in every round, forwards and backwards alternately, first on the machine as it is and
then beside the neighbours, processes that do nothing but keep a core busy:

    spin     what the runtimes do by themselves
    ours     what the commands of triptych set (triptych.runtime.threads; an engine's ``sharing``)
    passive  OMP_WAIT_POLICY=PASSIVE, and ours of an engine
    one      one thread, and ours of an engine

"others" is how many cores other programs used meanwhile, neighbours not counted. On a shared
machine ``--quiet 0.1`` waits for moments in which they use less and drops rounds in which they used
more; it asks for patience. ``--spins 300 3000`` adds other lengths of spinning. Exits with 1 if
beside the neighbours ours takes more than 1.3 times as long as passive, or by itself 1.03 times as
long as spin. Runs on Linux, whose ``/proc`` it reads.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from triptych.runtime.threads import OWN, SETTINGS

POLICIES: dict[str, dict[str, str]] = {
    "spin": {},
    "ours": dict(SETTINGS),
    "passive": {"OMP_WAIT_POLICY": "PASSIVE"},
    "one": {"OMP_WAIT_POLICY": "PASSIVE", "OMP_NUM_THREADS": "1"},
}
WORKS = ("forward", "readings")
BUSY, ALONE = 1.3, 1.03
"""The most that ours may take, beside passive with neighbours and beside spin without."""

SECOND = 1.0
"""For so long the machine must have been quiet before a round begins."""

TICKS = os.sysconf("SC_CLK_TCK")


def work(options: argparse.Namespace) -> None:
    """What a policy's process does: so many times of each work for each line that comes in."""
    from triptych.bench.madeup import made_up_masks, made_up_picture
    from triptych.bench.subject import load_network
    from triptych.commands.sizes import parse_size
    from triptych.engines.registry import ENGINES, EXPORTS
    from triptych.image.preprocess import load_image

    if options.work == "spin" and options.engine in EXPORTS:
        module, engine = ENGINES[options.engine].split(":")
        getattr(importlib.import_module(module), engine).sharing = {}
    segmenter = load_network(
        options.model, options.random, options.override, "cpu", engine=options.engine
    )
    image = load_image(made_up_picture(*parse_size("--size", options.size)))
    pixels = segmenter.preprocess([image]).pixels
    masks = made_up_masks(segmenter.segment([image], task=segmenter.task)[0])

    def readings() -> None:
        fresh = dataclasses.replace(masks)
        fresh.semantic()
        fresh.instances()
        fresh.panoptic()

    works: dict[str, Callable[[], Any]] = {
        "forward": lambda: segmenter.engine(pixels),
        "readings": readings,
    }
    for one in works.values():
        one()
    print("ready", flush=True)
    for line in sys.stdin:
        seconds: dict[str, float] = {}
        for name, one in works.items():
            took = []
            for _ in range(int(line)):
                began = time.perf_counter()
                one()
                took.append(time.perf_counter() - began)
            seconds[name] = statistics.median(took)
        print(json.dumps(seconds), flush=True)


class Worker:
    """The process of one policy."""

    def __init__(self, policy: str, settings: dict[str, str], arguments: Sequence[str]) -> None:
        plain = {name: value for name, value in os.environ.items() if name not in OWN}
        env = plain | settings
        command = [sys.executable, __file__, *arguments, "--work", policy]
        self.process = subprocess.Popen(
            command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ready(self) -> None:
        """Wait until it has loaded and warmed up."""
        assert self.process.stdout is not None
        if self.process.stdout.readline() != "ready\n":
            raise SystemExit("a process ended early; see above")

    def turn(self, times: int) -> dict[str, float]:
        """Median seconds of each work."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(times, file=self.process.stdin, flush=True)
        found: dict[str, float] = json.loads(self.process.stdout.readline())
        return found


def used(process: subprocess.Popen[Any] | None = None) -> float:
    """Seconds of processor time, of one process or of the whole machine."""
    if process is None:
        fields = list(map(int, Path("/proc/stat").read_text().split(maxsplit=9)[1:9]))
        return (sum(fields) - fields[3] - fields[4]) / TICKS  # without idle and waiting for disks
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def round_of(
    workers: dict[str, Worker], order: list[str], neighbours: list[Any], times: int
) -> tuple[dict[str, dict[str, float]], float]:
    """Seconds by policy and work, and how many cores other programs used."""
    ours = [*(worker.process for worker in workers.values()), *neighbours]
    for neighbour in neighbours:
        neighbour.send_signal(signal.SIGCONT)
    before, began = used() - sum(map(used, ours)), time.perf_counter()
    found = {policy: workers[policy].turn(times) for policy in order}
    others = (used() - sum(map(used, ours)) - before) / (time.perf_counter() - began)
    for neighbour in neighbours:
        neighbour.send_signal(signal.SIGSTOP)
    return found, others


def is_quiet(limit: float) -> bool:
    """Whether other programs have used no more than ``limit`` cores for a moment."""
    if limit == float("inf"):
        return True
    before = used()
    time.sleep(SECOND)
    return (used() - before) / SECOND <= limit


def report(rounds: list[tuple[dict[str, dict[str, float]], float]], beside: str) -> dict[str, Any]:
    """Print a table; the ratios of "ours" to ``beside``, by work."""
    others = statistics.median(other for _, other in rounds)
    print(f"  others: {others:.2f} cores (median of {len(rounds)} rounds)")
    ratios = {}
    for name in WORKS:
        for policy in rounds[0][0]:
            own = [found[policy][name] for found, _ in rounds]
            ratio = statistics.median(
                found[policy][name] / found[beside][name] for found, _ in rounds
            )
            told = f"{1000 * statistics.median(own):9.1f} ms"
            print(f"  {name:9} {policy:10} {told}   {ratio:5.2f} times {beside}", flush=True)
            ratios[name, policy] = ratio
    return {name: ratios[name, "ours"] for name in WORKS}


def measure(options: argparse.Namespace, arguments: Sequence[str]) -> bool:
    """Measure and print; whether the promises were kept."""
    policies = POLICIES | {f"spin {count}": {"GOMP_SPINCOUNT": count} for count in options.spins}
    workers = {
        name: Worker(name, {"OMP_NUM_THREADS": str(options.threads)} | settings, arguments)
        for name, settings in policies.items()
    }
    # Ends with this process, however that ends.
    loop = "import os; parent = os.getppid()\nwhile os.getppid() == parent: pass"
    spinning = [sys.executable, "-c", loop]
    neighbours = [subprocess.Popen(spinning) for _ in range(options.neighbours)]
    for neighbour in neighbours:
        neighbour.send_signal(signal.SIGSTOP)
    phases: dict[str, list[Any]] = {"alone": [], "busy": []}
    good = True
    try:
        for worker in workers.values():
            worker.ready()
        end = time.monotonic() + options.patience
        index = 0
        while min(map(len, phases.values())) < options.rounds and time.monotonic() < end:
            order = list(workers) if index % 2 else list(reversed(workers))
            for phase, kept in phases.items():
                if len(kept) < options.rounds and is_quiet(options.quiet):
                    beside = neighbours if phase == "busy" else []
                    found, others = round_of(workers, order, beside, options.times)
                    if others <= options.quiet:
                        kept.append((found, others))
            index += 1
        for phase, kept in phases.items():
            title = f"beside {options.neighbours} busy" if phase == "busy" else "by itself"
            print(f"\n{title}, {options.threads} threads, {options.size}, {options.engine}")
            if len(kept) < options.rounds:
                print(f"  {len(kept)} of {options.rounds} rounds were quiet enough")
                good = False
            if kept:
                ratios = report(kept, "passive" if phase == "busy" else "spin")
                good &= max(ratios.values()) <= (BUSY if phase == "busy" else ALONE)
    finally:
        for process in (*neighbours, *(worker.process for worker in workers.values())):
            process.kill()
    return good


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", help="a checkpoint; street by default")
    parser.add_argument("--random", help="a family, with random weights")
    parser.add_argument("--override", action="append", default=[], help="of its arguments")
    parser.add_argument("--size", default="640x360", help="of the picture")
    parser.add_argument("--engine", default="eager")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--neighbours", type=int, default=1)
    parser.add_argument("--spins", nargs="*", default=[], help="further values of GOMP_SPINCOUNT")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--times", type=int, default=3, help="of each work in a turn")
    parser.add_argument("--quiet", type=float, default=float("inf"), metavar="CORES")
    parser.add_argument("--patience", type=float, default=3600, metavar="SECONDS")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        work(options)
    else:
        sys.exit(not measure(options, sys.argv[1:]))


if __name__ == "__main__":
    main()
