"""What goes on in front of one source: readings, tracks and counts, frame after frame."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from triptych.mask_set import MaskSet
from triptych.readings.instance import Instance, Instances
from triptych.readings.masks import READINGS
from triptych.readings.panoptic import PanopticMap
from triptych.readings.semantic import SemanticMap
from triptych.readings.settings import ReadingSettings
from triptych.stream.counting import Counts, Tally
from triptych.stream.cuts import glance, is_cut
from triptych.stream.frames import Frame
from triptych.stream.history import FrameFigures, History
from triptych.stream.layout import Layout
from triptych.stream.naming import Naming
from triptych.stream.result import Result
from triptych.stream.track import Tracking
from triptych.stream.tracker import Tracker


class SourceScene:
    """Turns the mask sets of one source into results.

    Tracker and tally are kept as they were before the newest frame, so that it can be read again
    under other thresholds as if these had held from the first: nothing is counted twice, and a
    threshold moved there and back leaves no trace. So it is with the classes, which a table may
    change from one frame to the next.

    Args:
        source: its name.
        countable: names of the classes whose objects are counted.
        tracking: how objects are followed.
        layout: lines and zones to begin with.
        window: seconds of the rolling history.
    """

    def __init__(
        self,
        source: str,
        countable: Iterable[str],
        *,
        tracking: Tracking | None = None,
        layout: Layout | None = None,
        window: float = 600.0,
    ) -> None:
        self.source = source
        self.history = History(window)
        self.latest: Result | None = None
        self._began: float | None = None
        self._tracker = Tracker(tracking)
        self._faint = self._tracker.settings.faint
        self._tally = Tally(countable, layout)
        self._naming: Naming | None = None  # what tracker and tally go by
        self._before = self._kept()
        self._glance: np.ndarray | None = None  # at the newest frame
        self._cut = False  # whether that frame began a new shot

    @property
    def layout(self) -> Layout:
        """The lines and zones."""
        return self._tally.layout

    def draw(self, layout: Layout) -> None:
        """Count with other lines and zones from the next frame on."""
        for tally in (self._tally, self._before[1]):
            tally.draw(layout)

    def _kept(self) -> tuple[Tracker, Tally, Naming | None]:
        return copy.copy(self._tracker), self._tally.copy(), self._naming

    def observe(
        self,
        frame: Frame,
        found: MaskSet,
        readings: ReadingSettings,
        timings: Mapping[str, float],
        naming: Naming | None = None,
    ) -> Result:
        """Go on to the next frame.

        Args:
            frame: it.
            found: what the network found in it.
            readings: thresholds.
            timings: seconds by stage so far.
            naming: which classes hold; the network's by default.

        Raises:
            TriptychError: the masks cannot be read; the scene is as it was.
        """
        masks = found if naming is None else naming.apply(found)
        read = _Reading.of(masks, readings, self._faint)
        seen = glance(frame.pixels)
        self._cut = frame.anew or (self._glance is not None and is_cut(self._glance, seen))
        self._glance = seen
        self._before = self._kept()
        return self._advance(frame, (found, masks), readings, read, timings, naming)

    def reread(self, readings: ReadingSettings, naming: Naming | None = None) -> Result | None:
        """Read the newest frame again, under other thresholds or classes or after :meth:`draw`.

        Returns:
            None if there was no frame yet.

        Raises:
            TriptychError: as :meth:`observe`.
        """
        old = self.latest
        if old is None:
            return None
        same = naming is old.naming
        masks = old.masks if same or naming is None else naming.apply(old.found)
        read = _Reading.of(masks, readings, self._faint, old.semantic if same else None)
        tracker, tally, self._naming = self._before
        self._tracker, self._tally = copy.copy(tracker), tally.copy()
        return self._advance(old.frame, (old.found, masks), readings, read, {}, naming)

    def _advance(
        self,
        frame: Frame,
        masks: tuple[MaskSet, MaskSet],
        readings: ReadingSettings,
        read: _Reading,
        timings: Mapping[str, float],
        naming: Naming | None,
    ) -> Result:
        started = time.perf_counter()
        old, self._naming = self._naming, naming
        changed = naming is not None and naming is not old
        if naming is not None and old is not None and changed:
            self._tracker.rename(old.merged.heirs(naming.merged), naming.classes.names)
        tracks = self._tracker.update(
            read.instances, frame.moment, frame.size, cut=self._cut, faint=read.faint
        )
        if naming is not None and changed:
            # Before the first frame nothing was counted, whatever the classes were.
            members = {} if old is None else old.members
            known = (*tracks, *self._tracker.gone)
            self._tally.rename(naming.countable, members, naming.members, known, frame.moment)
        events = self._tally.update(tracks, self._tracker.gone, frame.size)
        counts = self._tally.counts(tracks, read.share)
        self.latest = Result(
            source=self.source,
            time=self._time_of(frame),
            revision=self.latest.revision + 1 if self.latest else 1,
            frame=frame,
            found=masks[0],
            masks=masks[1],
            readings=readings,
            semantic=read.semantic,
            instances=read.instances,
            panoptic=read.panoptic,
            tracks=tracks,
            counts=counts,
            timings={
                **timings,
                "readings": read.seconds,
                "track": time.perf_counter() - started,
            },
            naming=naming,
        )
        self.history.add(frame.index, FrameFigures(self.latest.time, _levels(counts), events))
        return self.latest

    def _time_of(self, frame: Frame) -> float:
        """See :attr:`Result.time`."""
        if frame.media_time is None:
            return time.time() - (time.monotonic() - frame.time)
        if self._began is None:
            self._began = time.time() - frame.media_time
        return self._began + frame.media_time


@dataclass(frozen=True, eq=False)
class _Reading:
    """The three readings of a frame, and the share of each class."""

    semantic: SemanticMap
    instances: Instances
    faint: Sequence[Instance]
    """What is below the threshold, down to :attr:`Tracking.faint`."""
    panoptic: PanopticMap
    share: Mapping[str, float]
    seconds: float

    @classmethod
    def of(
        cls,
        masks: MaskSet,
        readings: ReadingSettings,
        faint: float,
        semantic: SemanticMap | None = None,
    ) -> _Reading:
        """Read a mask set; its semantic map may be known, for no threshold changes it.

        Raises:
            TriptychError: it has not got all readings, or is not finite.
        """
        masks.require(*READINGS)
        started = time.perf_counter()
        semantic = semantic or masks.semantic()
        threshold = readings.instance_threshold
        found = masks.instances(min(faint, threshold), readings.top)
        # The best come first: what reaches the threshold is what a reading with it would give.
        known = sum(instance.score >= threshold for instance in found)
        instances = Instances(found[:known], found.source)
        panoptic = masks.panoptic(readings.panoptic_threshold, readings.overlap)
        share = {
            name: count / semantic.ids.numel()
            for name, count in zip(masks.classes.names, semantic.areas().tolist(), strict=True)
        }
        seconds = time.perf_counter() - started
        return cls(semantic, instances, found[known:], panoptic, share, seconds)


def _levels(counts: Counts) -> dict[str, float]:
    levels = {f"count.{name}": float(count) for name, count in counts.now.items()}
    levels |= {f"share.{name}": share for name, share in counts.share.items()}
    for zone, count in counts.zones.items():
        levels |= {f"zone.{zone}.inside.{name}": float(n) for name, n in count.inside.items()}
    return levels
