"""Ids that stay with their object from frame to frame."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
from scipy.optimize import linear_sum_assignment

from triptych.readings.instance import Box, Instance
from triptych.stream import shapes
from triptych.stream.track import State, Track, Tracking

AGILITY = 0.4
"""Share of the newest surprise that goes into the velocity: the ``h`` of a g-h filter (Brookner,
Tracking and Kalman Filtering Made Easy, 1998, section 1.2), whose ``g`` is 1 here."""

SHRINK = 0.05
"""Share by which a body nears the smaller box that is seen of it, each time it is seen: slow,
because what hides a part of it passes sooner than it moves far away."""

REACH_SECONDS = 0.09
"""Where frames come so far apart, or further, objects are looked for as far away as ever; where
they are closer, less far in proportion. A mask that jumps to a neighbour takes its number along
otherwise."""

PART = 0.9
"""What lies inside a known object of its class with this share of its box is a part of that one: a
mask that falls in two, or a second mask of the same object, begins no new object."""

FAINT_IOU = 0.5
"""Two shapes that overlap by less are not the same object, if the network is not sure of one."""

Affinity: TypeAlias = Callable[[Track, "Sight"], float]
"""How well a track, where it should be by now, fits what is seen; 0 if not at all."""


@dataclasses.dataclass(frozen=True, eq=False)
class Sight:
    """One instance of the newest frame.

    Networks put crumbs of a mask on others of its class, far away; a box round all of it stands on
    the wrong car. So the object is the largest part of its mask, and the parts that something else
    cuts off from it.
    """

    place: int
    """Among the instances."""
    instance: Instance
    mask: np.ndarray
    """These parts, cut out along the box."""
    box: Box
    """Round these parts."""

    @classmethod
    def of(cls, place: int, instance: Instance, shown: np.ndarray) -> Sight:
        """Leave out what is not the object.

        Args:
            place: among the instances.
            instance: it.
            shown: ``(H, W)`` bool: where any object is seen.
        """
        cut = instance.cut.cpu().numpy()
        mask, (left, top) = shapes.visible_parts(cut, shown[instance.area] & ~cut)
        x, y = round(instance.box[0]) + left, round(instance.box[1]) + top
        box = (float(x), float(y), float(x + mask.shape[1]), float(y + mask.shape[0]))
        return cls(place, instance, mask, box)


class Tracker:
    """Follows the objects of one source.

    Every object moves on with the velocity it had. What is seen is assigned, class by class,
    first by how much shapes overlap with where they should be, then, for what is left, by how near
    the places are: small and fast objects overlap with nothing, nor do those that come out from
    behind something. Each assignment is the best one over all pairs together.

    Between the two, known objects are looked for among what the network is less sure of, by
    overlap (ByteTrack: Zhang et al., 2022, section 3, the second association). That keeps them
    alive and tells where they are, but does not make them seen; nothing new begins with it.

    The state is a tuple of unchanging tracks, so :func:`copy.copy` keeps it for later.
    """

    def __init__(self, settings: Tracking | None = None) -> None:
        self.settings = settings or Tracking()
        self.tracks: tuple[Track, ...] = ()
        """Everything that is followed, oldest first."""
        self.gone: tuple[Track, ...] = ()
        """Counted tracks that the newest update gave up."""
        self._size: tuple[int, int] | None = None
        self._next_id = 1
        self._moment: float | None = None  # of the newest update
        self._step = 0.0  # seconds between the newest two
        self._open: dict[int, frozenset[int]] = {}  # classes that a track may have now, by its id

    def rename(self, heirs: Sequence[frozenset[int]], names: Sequence[str]) -> None:
        """Go on with other classes.

        An object keeps its number where its new class follows from the old one. Where that was
        taken apart, the next update decides: seen as one of the classes, it goes on as that one;
        otherwise it is let go, and so is what has no class any more. Neither is in :attr:`gone`.

        Args:
            heirs: for each old class, the new ones that have a part of it.
            names: of the new classes.
        """
        kept = []
        self._open = {}
        for track in self.tracks:
            possible = heirs[track.class_id]
            if len(possible) == 1:
                (new,) = possible
                kept.append(dataclasses.replace(track, class_id=new, name=names[new]))
            elif possible:
                self._open[track.id] = possible
                kept.append(track)
        self.tracks = tuple(kept)

    def update(
        self,
        instances: Sequence[Instance],
        moment: float,
        size: tuple[int, int],
        *,
        cut: bool = False,
        faint: Sequence[Instance] = (),
    ) -> tuple[Track, ...]:
        """Go on to the next frame.

        Args:
            instances: what is seen in it.
            moment: its time in seconds; not before that of the frame before.
            size: its ``(H, W)``. If it changes, tracks are scaled along.
            cut: nothing in it is what it was before; all tracks end.
            faint: what may be in it, with scores below the threshold of ``instances``.

        Returns:
            :attr:`tracks`.
        """
        gone: list[Track] = []
        self._step = moment - self._moment if self._moment is not None else 0.0
        self._moment = moment
        before = [self._moved(track, moment) for track in self._scaled(size)]
        if cut:
            known = [track for track in before if track.id not in self._open]
            gone = [track for track in known if track.state is not State.NEW]
            before = []
        shown = np.zeros(size, bool)
        for instance in instances:
            shown[instance.area] |= instance.cut.cpu().numpy()
        sights = [Sight.of(place, instance, shown) for place, instance in enumerate(instances)]
        # Known objects first: where a mask was in two for a frame, the half that began then must
        # not take the whole.
        matched: dict[int, Sight] = {}
        for some in (
            [track for track in before if track.state is not State.NEW],
            [track for track in before if track.state is State.NEW],
        ):
            taken = {sight.place for sight in matched.values()}
            free = [sight for sight in sights if sight.place not in taken]
            matched |= self._assign(some, free, self._overlap)
        known = [t for t in before if t.id not in matched and t.state is not State.NEW]
        half = self._assign(
            known, [Sight.of(place, one, shown) for place, one in enumerate(faint)], _likeness
        )
        rest = [track for track in before if track.id not in {*matched, *half}]
        taken = {sight.place for sight in matched.values()}
        free = [sight for sight in sights if sight.place not in taken]
        matched |= self._assign(rest, free, self._nearness)
        taken = {sight.place for sight in matched.values()}

        after: list[Track] = []
        for track in before:
            if track.id in matched:
                after.append(self._seen(track, matched[track.id], moment, size))
            elif track.id in half:
                found = self._seen(track, half[track.id], moment, size)
                after.append(
                    dataclasses.replace(found, state=State.LOST, instance=None, sights=track.sights)
                )
            elif track.id in self._open:
                continue  # nobody knows what it is now
            elif track.state is not State.NEW and self._may_return(track, moment, size):
                after.append(dataclasses.replace(track, state=State.LOST, instance=None))
            elif track.state is not State.NEW:
                gone.append(track)
        new = [sight for sight in sights if sight.place not in taken]
        bodies = [
            track
            for track in after
            if track.state is State.SEEN and track.instance is not None and track.sights > 1
        ]
        after += [self._born(one, moment) for one in new if not _is_part(one, bodies)]
        self.tracks, self.gone, self._open = tuple(after), tuple(gone), {}
        return self.tracks

    def _assign(
        self, tracks: Sequence[Track], sights: Sequence[Sight], affinity: Affinity
    ) -> dict[int, Sight]:
        """The assignment with the highest total affinity, by id of the track."""
        table = np.zeros((len(tracks), len(sights)))
        for row, track in enumerate(tracks):
            classes = self._open.get(track.id, (track.class_id,))
            for column, sight in enumerate(sights):
                if sight.instance.class_id in classes:
                    table[row, column] = affinity(track, sight)
        pairs = zip(*linear_sum_assignment(table, maximize=True), strict=True)
        return {tracks[row].id: sights[column] for row, column in pairs if table[row, column] > 0}

    def _scaled(self, size: tuple[int, int]) -> Sequence[Track]:
        old, self._size = self._size, size
        if old is None or old == size:
            return self.tracks
        y, x = size[0] / old[0], size[1] / old[1]

        def scale(box: Box) -> Box:
            return box[0] * x, box[1] * y, box[2] * x, box[3] * y

        return [
            dataclasses.replace(
                track,
                box=scale(track.box),
                body=scale(track.body),
                velocity=(track.velocity[0] * x, track.velocity[1] * y),
                mask=None,
            )
            for track in self.tracks
        ]

    def _moved(self, track: Track, moment: float) -> Track:
        """Where the track should be now, by its velocity."""
        seconds = max(moment - track.moment, 0.0)
        dx, dy = track.velocity[0] * seconds, track.velocity[1] * seconds
        return dataclasses.replace(
            track,
            box=shapes.moved(track.box, dx, dy),
            body=shapes.moved(track.body, dx, dy),
            moment=max(moment, track.moment),
        )

    def _may_return(self, track: Track, moment: float, size: tuple[int, int]) -> bool:
        x, y = shapes.centre(track.body)
        in_picture = 0 <= x <= size[1] and 0 <= y <= size[0]
        return in_picture and moment - track.last <= self.settings.memory

    def _overlap(self, track: Track, sight: Sight) -> float:
        iou = _iou(track, sight)
        return iou if iou >= self.settings.min_iou else 0.0

    def _nearness(self, track: Track, sight: Sight) -> float:
        body, box = track.body, sight.box
        # As in _fit, what hides a part, or the border, leaves one edge in its place.
        across = min(abs(body[0] - box[0]), abs(body[2] - box[2]))
        along = min(abs(body[1] - box[1]), abs(body[3] - box[3]))
        scale = max(body[2] - body[0], body[3] - body[1], box[2] - box[0], box[3] - box[1])
        reach = self.settings.reach * scale * min(self._step / REACH_SECONDS, 1.0)
        if track.sights == 1:
            reach *= 2  # it may have any velocity
        distance = math.hypot(across, along)
        return 1.0 - distance / reach if distance < reach else 0.0

    def _born(self, sight: Sight, moment: float) -> Track:
        seen = sight.instance
        track = Track(
            id=self._next_id,
            class_id=seen.class_id,
            name=seen.name,
            score=seen.score,
            state=State.SEEN if self.settings.confirm == 1 else State.NEW,
            box=sight.box,
            mask=sight.mask,
            instance=sight.place,
            body=sight.box,
            velocity=(0.0, 0.0),
            first=moment,
            last=moment,
            moment=moment,
            sights=1,
        )
        self._next_id += 1
        return track

    def _seen(self, track: Track, sight: Sight, moment: float, size: tuple[int, int]) -> Track:
        seen, box, seconds = sight.instance, sight.box, moment - track.last
        gain = max(AGILITY, 1 / track.sights) / seconds if seconds > 0 else 0.0
        x0, x1, dx = _fit(track.body[0], track.body[2], box[0], box[2], size[1])
        y0, y1, dy = _fit(track.body[1], track.body[3], box[1], box[3], size[0])
        sights = track.sights + 1
        counts = track.state is not State.NEW or sights >= self.settings.confirm
        return dataclasses.replace(
            track,
            class_id=seen.class_id,
            name=seen.name,
            score=seen.score,
            state=State.SEEN if counts else State.NEW,
            box=box,
            mask=sight.mask,
            instance=sight.place,
            body=(x0, y0, x1, y1),
            velocity=(track.velocity[0] + gain * dx, track.velocity[1] + gain * dy),
            last=moment,
            sights=sights,
        )


def _is_part(sight: Sight, bodies: Sequence[Track]) -> bool:
    """Whether what is seen lies inside one of these objects."""
    box = sight.box
    return any(
        track.class_id == sight.instance.class_id
        and shapes.area(shapes.common(track.body, box)) >= PART * shapes.area(box)
        for track in bodies
    )


def _iou(track: Track, sight: Sight) -> float:
    if track.mask is None:
        return shapes.box_iou(track.box, sight.box)
    return shapes.mask_iou(track.box, track.mask, sight.box, sight.mask)


def _likeness(track: Track, sight: Sight) -> float:
    iou = _iou(track, sight)
    return iou if iou >= FAINT_IOU else 0.0


def _fit(
    low: float, high: float, seen_low: float, seen_high: float, limit: int
) -> tuple[float, float, float]:
    """Bring one axis of a body to what is seen of it.

    Where something hides a part, one edge of what is seen stays with whatever hides it, and the
    other goes on as it should. So the body follows the edge that surprises less; an edge on the
    border of the picture (0 or ``limit``) tells nothing.

    Returns:
        The new ``low`` and ``high``, and by how far the place surprised.
    """
    surprises = []
    if seen_low > 0:
        surprises.append(seen_low - low)
    if seen_high < limit:
        surprises.append(seen_high - high)
    shift = min(surprises, key=abs, default=0.0)
    low, high = low + shift, high + shift
    low = min(seen_low, low + SHRINK * (seen_low - low))
    high = max(seen_high, high + SHRINK * (seen_high - high))
    return low, high, shift
