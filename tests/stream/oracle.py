"""CLEAR MOT (Bernardin and Stiefelhagen, 2008), by the book: how good tracks are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import linear_sum_assignment


@dataclass
class ClearMot:
    """Compares tracks with the truth, frame by frame."""

    objects: int = 0
    misses: int = 0
    false_alarms: int = 0
    switches: int = 0
    partner: dict[int, int] = field(default_factory=dict)  # truth -> the track it last had

    def add(self, truth: Mapping[int, np.ndarray], tracks: Mapping[int, np.ndarray]) -> None:
        """Masks ``(H, W)`` bool by id."""
        pairs = {
            t: h
            for t, h in self.partner.items()
            if t in truth and h in tracks and iou(truth[t], tracks[h]) >= 0.5
        }
        free = [t for t in truth if t not in pairs]
        spare = [h for h in tracks if h not in pairs.values()]
        table = np.array([[iou(truth[t], tracks[h]) for h in spare] for t in free])
        table = table.reshape(len(free), len(spare))
        for row, column in zip(*linear_sum_assignment(-table), strict=True):
            if table[row, column] >= 0.5:
                thing, track = free[row], spare[column]
                self.switches += self.partner.get(thing, track) != track
                pairs[thing] = track
        self.partner |= pairs
        self.objects += len(truth)
        self.misses += len(truth) - len(pairs)
        self.false_alarms += len(tracks) - len(pairs)

    @property
    def mota(self) -> float:
        wrong = self.misses + self.false_alarms + self.switches
        return 1 - wrong / self.objects


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / (a | b).sum())
