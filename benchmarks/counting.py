"""Counts and identities on real footage, beside what was counted by hand.

    python -m benchmarks.counting ../shared/data/video/junction.mp4
    python -m benchmarks.counting junction.mp4 --found out/junction.npz --against bytetrack

Runs the model over every frame, follows the objects and counts what crosses the two lines of
``benchmarks/junction/layout.json``; ``benchmarks/junction/README.md`` says how the truth was made.
Prints, for each line and way, the crossings of cars, and for the ten vehicles with boxes: in how
many of their boxes a track was found (the best one, of an overlap of one half or more), identity
switches (another track than the last one found), fragments (found again after it was not), and how
many were found by the vehicle's own track (identity true positives).

``--found`` keeps what the network found in a file, so that other settings take seconds.
``--against bytetrack`` puts ByteTrack of the supervision library (``pip install
'supervision<0.27'``) in the tracker's place, on the same boxes, and its LineZone beside our rule.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import itertools
import json
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from tqdm import tqdm

import triptych
from triptych.readings.instance import Box, Instance, PlacedInstance
from triptych.stream import shapes
from triptych.stream.counting import Tally
from triptych.stream.layout import Layout
from triptych.stream.media import video_pictures
from triptych.stream.track import State, Track, Tracking
from triptych.stream.tracker import Sight, Tracker

TRUTH = Path(__file__).parent / "junction"
RATE = 30.0
KIND = "car"
"""The class that all vehicles of the clip are of."""

Boxes = dict[int, dict[str, Box]]
"""By frame, then by vehicle."""


@dataclasses.dataclass(frozen=True)
class Seen:
    """What the network found in a clip."""

    size: tuple[int, int]
    classes: tuple[str, ...]
    threshold: float
    """Of instances, the checkpoint's own."""
    frames: tuple[tuple[PlacedInstance, ...], ...]
    """Down to the score that keeps a track alive, the best first."""

    def save(self, path: Path) -> None:
        """Write what :meth:`load` reads."""
        flat = [(index, one) for index, found in enumerate(self.frames) for one in found]
        cuts = [one.cut.numpy() for _, one in flat]
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(
            path,
            size=self.size,
            classes=self.classes,
            threshold=self.threshold,
            count=len(self.frames),
            frame=[index for index, _ in flat],
            kind=[one.class_id for _, one in flat],
            score=[one.score for _, one in flat],
            box=np.array([one.box for _, one in flat]).reshape(-1, 4),
            masks=np.packbits(np.concatenate([np.zeros(0, bool), *(c.ravel() for c in cuts)])),
        )

    @classmethod
    def load(cls, path: Path) -> Seen:
        """Read what :meth:`save` wrote."""
        with np.load(path) as data:
            found = {name: data[name] for name in data.files}
        size, classes = tuple(found["size"].tolist()), tuple(found["classes"].tolist())
        frames: list[list[PlacedInstance]] = [[] for _ in range(int(found["count"]))]
        pixels, at = np.unpackbits(found["masks"]).astype(bool), 0
        columns = (found[name].tolist() for name in ("frame", "kind", "score", "box"))
        for index, kind, score, box in zip(*columns, strict=True):
            width, height = round(box[2] - box[0]), round(box[3] - box[1])
            cut = torch.from_numpy(pixels[at : at + width * height].reshape(height, width))
            at += width * height
            one = PlacedInstance(cut, size, kind, classes[kind], score, tuple(box))
            frames[index].append(one)
        return cls(size, classes, float(found["threshold"]), tuple(map(tuple, frames)))


def look(clip: Path, model: str, faint: float) -> Seen:
    """Run the network over a clip."""
    segmenter = triptych.load(model, device="cpu")
    frames, size = [], (0, 0)
    for picture in tqdm(video_pictures(str(clip), str(clip)), unit="frame", total=499):
        assert picture.pixels is not None
        size = picture.pixels.shape[:2]
        found = segmenter.segment([torch.from_numpy(picture.pixels)])[0].instances(faint)
        frames.append(
            tuple(
                PlacedInstance(i.cut.clone(), size, i.class_id, i.name, i.score, i.box)
                for i in found
            )
        )
    threshold = segmenter.readings.instance_threshold
    return Seen(size, segmenter.classes.names, threshold, tuple(frames))


class Follower(Protocol):
    """What follows objects: ours, or another."""

    gone: Sequence[Track]

    def update(
        self, instances: Sequence[Instance], moment: float, size: tuple[int, int], **more: Any
    ) -> Sequence[Track]:
        """See :meth:`Tracker.update`."""


class ByteTrack:
    """supervision's, with the thresholds that ours has, and one for each class like ours."""

    def __init__(self, threshold: float, memory: float, confirm: int, rate: float = RATE) -> None:
        import supervision

        self._sv = supervision
        self._make = lambda: supervision.ByteTrack(
            track_activation_threshold=threshold,
            lost_track_buffer=round(30 * memory),  # in frames of 1/30 second, whatever the rate
            frame_rate=round(rate),
            minimum_consecutive_frames=confirm,
        )
        self._trackers: dict[int, Any] = {}
        self._numbers: dict[tuple[int, int], int] = {}
        self._known: dict[int, Track] = {}
        self._memory = memory
        self.gone: Sequence[Track] = ()
        self.detections: dict[int, Any] = {}
        """Of the newest frame, by class."""
        self.seen: dict[int, Instance] = {}
        """Of the newest frame, by number of the track."""

    def update(
        self, instances: Sequence[Instance], moment: float, size: tuple[int, int], **more: Any
    ) -> Sequence[Track]:
        """See :meth:`Tracker.update`."""
        every = [*instances, *more.get("faint", ())]
        self.detections, self.seen = {}, {}
        shown = np.zeros(size, bool)
        for one in instances:
            shown[one.area] |= one.cut.numpy()
        for kind in {*self._trackers, *(one.class_id for one in every)}:
            some = [one for one in every if one.class_id == kind]
            boxes = np.array([Sight.of(0, one, shown).box for one in some], np.float32).reshape(
                -1, 4
            )
            given = self._sv.Detections(
                xyxy=boxes,
                confidence=np.array([one.score for one in some], np.float32),
                class_id=np.full(len(some), kind),
            )
            tracker = self._trackers.setdefault(kind, self._make())
            found = self.detections[kind] = tracker.update_with_detections(given)
            for box, theirs in zip(found.xyxy, found.tracker_id, strict=True):
                place = int(np.abs(boxes - box).sum(1).argmin())
                key = kind, int(theirs)
                number = self._numbers.setdefault(key, len(self._numbers) + 1)
                self.seen[number] = some[place]
                self._known[number] = self._track(number, some[place], box.tolist(), moment)
        lost = {n for n, t in self._known.items() if moment - t.last > self._memory}
        self.gone = [self._known.pop(number) for number in lost]
        return [
            track
            if track.last == moment
            else dataclasses.replace(track, state=State.LOST, instance=None, moment=moment)
            for track in self._known.values()
        ]

    def _track(self, number: int, seen: Instance, box: Sequence[float], moment: float) -> Track:
        old = self._known.get(number)
        first, sights = (old.first, old.sights + 1) if old else (moment, 1)
        place: Box = (box[0], box[1], box[2], box[3])
        return Track(
            number, seen.class_id, seen.name, seen.score, State.SEEN, place, None, 0,
            place, (0.0, 0.0), first, moment, moment, sights,
        )  # fmt: skip


class LineZones:
    """supervision's rule for lines, for the tracks of its own tracker."""

    def __init__(self, layout: Layout, size: tuple[int, int], frames: int) -> None:
        import supervision as sv

        def point(end: tuple[float, float]) -> Any:
            return sv.Point(end[0] * size[1], end[1] * size[0])

        self.zones = {
            line.name: sv.LineZone(
                point(line.a),
                point(line.b),
                triggering_anchors=(sv.Position.BOTTOM_CENTER,),
                minimum_crossing_threshold=frames,
            )
            for line in layout.lines
        }

    def update(self, detections: Any) -> None:
        """Go on to the next frame."""
        for zone in self.zones.values():
            zone.trigger(detections)

    def counts(self) -> dict[str, tuple[int, int]]:
        """Of each line, both ways; its "out" is our forward."""
        return {name: (zone.out_count, zone.in_count) for name, zone in self.zones.items()}


def true_boxes() -> Boxes:
    """Of the ten vehicles."""
    found: Boxes = defaultdict(dict)
    with (TRUTH / "boxes.csv").open() as file:
        for row in csv.DictReader(file):
            box = tuple(float(row[edge]) for edge in ("x0", "y0", "x1", "y1"))
            found[int(row["frame"])][row["vehicle"]] = box  # type: ignore[assignment]
    return found


def true_crossings() -> dict[str, tuple[int, int]]:
    """Of each line, forward and backward."""
    with (TRUTH / "crossings.csv").open() as file:
        ways = Counter((row["line"], row["way"]) for row in csv.DictReader(file))
    return {line: (ways[line, "forward"], ways[line, "backward"]) for line, _ in ways}


Place = tuple[str, int]
"""A vehicle and a frame: one of the true boxes."""


@dataclasses.dataclass
class Identities:
    """How the ten vehicles fared."""

    numbers: dict[Place, int | None] = dataclasses.field(default_factory=dict)
    """Which track was found in each true box, frame by frame; None: none was."""

    def add(self, index: int, truth: dict[str, Box], tracks: Iterable[Track]) -> None:
        """Compare the tracks of a frame with the true boxes in it."""
        seen = [track for track in tracks if track.state is State.SEEN]
        table = np.array([[shapes.box_iou(box, t.box) for t in seen] for box in truth.values()])
        table = table.reshape(len(truth), len(seen))
        pairs = {
            list(truth)[row]: seen[column].id
            for row, column in zip(*linear_sum_assignment(-table), strict=True)
            if table[row, column] >= 0.5
        }
        self.numbers |= {(vehicle, index): pairs.get(vehicle) for vehicle in truth}

    @property
    def found(self) -> set[Place]:
        """The boxes with a track."""
        return {place for place, number in self.numbers.items() if number is not None}

    def only(self, places: set[Place]) -> Identities:
        """The same for some of the boxes."""
        return Identities({p: number for p, number in self.numbers.items() if p in places})

    @property
    def switches(self) -> int:
        """How often the track is another than the last one found."""
        return sum(
            before != after
            for found in self._by_vehicle().values()
            for before, after in itertools.pairwise(n for n in found if n is not None)
        )

    @property
    def fragments(self) -> int:
        """How often a vehicle is found again after it was not."""
        stretches = (
            sum(found for found, _ in itertools.groupby(n is not None for n in numbers))
            for numbers in self._by_vehicle().values()
        )
        return sum(max(count - 1, 0) for count in stretches)

    @property
    def own(self) -> int:
        """Boxes found by the vehicle's own track, when each vehicle has one and each track one.

        Identity true positives (Ristani et al., 2016): of all pairings, the best one.
        """
        counted = Counter((vehicle, self.numbers[vehicle, i]) for vehicle, i in self.found)
        vehicles = sorted({vehicle for vehicle, _ in counted})
        tracks = sorted({number for _, number in counted if number is not None})
        table = np.array([[counted[v, n] for n in tracks] for v in vehicles])
        table = table.reshape(len(vehicles), len(tracks))
        return int(table[linear_sum_assignment(-table)].sum())

    def _by_vehicle(self) -> dict[str, list[int | None]]:
        found: dict[str, list[int | None]] = defaultdict(list)
        for (vehicle, _), number in sorted(self.numbers.items(), key=lambda item: item[0][1]):
            found[vehicle].append(number)
        return found


def run(
    seen: Seen, tracker: Follower, identities: Identities, zones: LineZones | None = None
) -> Iterator[str]:
    """Follow and count, and tell; ``identities`` is filled."""
    layout = Layout.from_dict(json.loads((TRUTH / "layout.json").read_text()))
    tally, truth = Tally(seen.classes, layout), true_boxes()
    began = time.perf_counter()
    for index, found in enumerate(seen.frames):
        sure = [instance for instance in found if instance.score >= seen.threshold]
        tracks = tracker.update(sure, index / RATE, seen.size, faint=found[len(sure) :])
        tally.update(tracks, tracker.gone, seen.size)
        if zones is not None:
            cars = tracker.detections.get(seen.classes.index(KIND))  # type: ignore[attr-defined]
            if cars is not None:
                zones.update(cars)
        if index in truth:
            identities.add(index, truth[index], tracks)
    took = (time.perf_counter() - began) / len(seen.frames)
    counts = tally.counts(tracks, {})
    lines = {name: (c.forward[KIND], c.backward[KIND]) for name, c in counts.lines.items()}
    yield "crossings forward/backward, our rule: " + told(lines)
    if zones is not None:
        yield "crossings forward/backward, LineZone: " + told(zones.counts())
    yield f"{fared(identities)}; {counts.entered[KIND]} cars entered; {1000 * took:.1f} ms a frame"


def fared(identities: Identities) -> str:
    """How the ten vehicles did."""
    return (
        f"ten vehicles: {len(identities.found)} of {len(identities.numbers)} boxes found, "
        f"{identities.own} by the vehicle's own track, {identities.switches} switches, "
        f"{identities.fragments} fragments"
    )


def told(lines: dict[str, tuple[int, int]]) -> str:
    """Both lines beside their truth, and the sums."""
    truth = true_crossings()
    total, wrong = sum(map(sum, lines.values())), sum(back for _, back in lines.values())
    each = ", ".join(
        f"{name} {f}/{b} (true {truth[name][0]}/{truth[name][1]})" for name, (f, b) in lines.items()
    )
    return f"{each}; in all {total} (true {sum(map(sum, truth.values()))}), wrong way {wrong}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clip", type=Path)
    parser.add_argument("--model", default="street")
    parser.add_argument("--found", type=Path, help="file that keeps what the network found")
    parser.add_argument("--against", choices=["bytetrack"])
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="of Tracking")
    given = parser.parse_args()
    values = dict(pair.split("=") for pair in given.set)
    settings = Tracking(**{k: int(v) if k == "confirm" else float(v) for k, v in values.items()})
    if given.found and given.found.exists():
        seen = Seen.load(given.found)
    else:
        seen = look(given.clip, given.model, settings.faint)
        if given.found:
            seen.save(given.found)
    ours = Identities()
    print("ours")
    for line in run(seen, Tracker(settings), ours):
        print("  " + line)
    if given.against:
        theirs = ByteTrack(seen.threshold, settings.memory, settings.confirm)
        layout = Layout.from_dict(json.loads((TRUTH / "layout.json").read_text()))
        others = Identities()
        print("ByteTrack")
        for line in run(seen, theirs, others, LineZones(layout, seen.size, 3)):
            print("  " + line)
        both = ours.found & others.found
        print("in the boxes that both found")
        print(f"  ours: {fared(ours.only(both))}\n  ByteTrack: {fared(others.only(both))}")


if __name__ == "__main__":
    main()
