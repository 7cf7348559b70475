"""The readings as one would explain them: one pixel, one query at a time, in float64."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from triptych.mask_set import MaskSet
from triptych.readings.outcome import Outcome


@dataclass
class Answer:
    """What an oracle found, and how near the nearest decision was to going the other way."""

    ids: np.ndarray
    found: list[tuple] = field(default_factory=list)
    lead: np.ndarray | None = None
    outcomes: Counter[Outcome] = field(default_factory=Counter)
    slack: float = math.inf

    def decide(self, first: float, second: float) -> bool:
        """Whether ``first`` is larger; remembers by how little."""
        self.slack = min(self.slack, abs(first - second))
        return first > second


def resize(grid: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Bilinear, pixel centres at halves, edges repeated (``align_corners=False``)."""
    out = np.empty(size)
    for y in range(size[0]):
        for x in range(size[1]):
            value = 0.0
            for row, row_share in _neighbours(y, grid.shape[0], size[0]):
                for column, column_share in _neighbours(x, grid.shape[1], size[1]):
                    value += grid[row, column] * row_share * column_share
            out[y, x] = value
    return out


def _neighbours(pixel: int, cells: int, pixels: int) -> list[tuple[int, float]]:
    place = max((pixel + 0.5) * cells / pixels - 0.5, 0.0)
    first = min(math.floor(place), cells - 1)
    share = place - first
    return [(first, 1 - share), (min(first + 1, cells - 1), share)]


def upsample(masks: MaskSet) -> np.ndarray:
    """``(N, H, W)``: coarse grid to network input, crop the padding, resize to the image."""
    geometry = masks.geometry
    height, width = geometry.valid_size
    out = []
    for mask in masks.mask_logits.double().numpy():
        padded = resize(mask, geometry.input_size)
        out.append(resize(padded[:height, :width], geometry.image_size))
    return np.stack(out)


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = [math.exp(x - max(logits)) for x in logits]
    return np.array(powers) / sum(powers)


def class_scores(masks: MaskSet) -> list[np.ndarray]:
    """Of each query: K class probabilities and, last, that of "no object"."""
    if masks.class_logits is None:
        assert masks.quality is not None
        return [np.array([q, 0.0]) for q in masks.quality.double().numpy()]
    return [softmax(row) for row in masks.class_logits.double().numpy()]


def semantic(masks: MaskSet) -> Answer:
    """With the lead of the winner over the second at every pixel.

    As ``semantic_inference`` of both, with the masks resized to the image before it, or the class
    scores after it (``sem_seg_postprocess_before_inference`` on or off).
    """
    scores, geometry = class_scores(masks), masks.geometry
    logits = upsample(masks)
    if masks.readings.semantic_resize == "masks":
        totals = _totals(logits, scores, len(masks.classes))
    else:
        grown = np.stack(
            [resize(m, geometry.input_size) for m in masks.mask_logits.double().numpy()]
        )
        rows, columns = geometry.valid_size
        valid = _totals(grown[:, :rows, :columns], scores, len(masks.classes))
        totals = np.stack([resize(plane, geometry.image_size) for plane in valid])
    height, width = totals.shape[1:]
    answer = Answer(ids=np.zeros((height, width), dtype=int))
    lead = np.zeros((height, width))
    for y in range(height):
        for x in range(width):
            answer.ids[y, x] = totals[:, y, x].tolist().index(max(totals[:, y, x]))
            ranked = sorted(totals[:, y, x], reverse=True)
            lead[y, x] = ranked[0] - ranked[1] if len(ranked) > 1 else math.inf
    answer.lead = lead
    for query in range(len(masks)):
        inside = logits[query] > 0
        best = int(scores[query][:-1].argmax())
        if scores[query].argmax() == len(masks.classes):
            outcome = Outcome.NO_OBJECT
        elif not inside.any():
            outcome = Outcome.NO_PIXEL
        elif (answer.ids[inside] == best).any():
            outcome = Outcome.KEPT
        else:
            outcome = Outcome.OUTVOTED
        answer.outcomes[outcome] += 1
    answer.slack = min(lead.min(), np.abs(logits).min())
    return answer


def _totals(logits: np.ndarray, scores: list[np.ndarray], classes: int) -> np.ndarray:
    """``(K, H, W)``: the class scores."""
    totals = np.zeros((classes, *logits.shape[1:]))
    for label, y, x in np.ndindex(*totals.shape):
        for query in range(len(logits)):
            totals[label, y, x] += scores[query][label] * sigmoid(logits[query, y, x])
    return totals


def panoptic(masks: MaskSet, threshold: float, overlap: float) -> Answer:
    """``found``: (class, score, area) of every segment.

    As ``panoptic_inference`` of MaskFormer (mask_former/mask_former_model.py), where segments get
    the pixels they won, and of Mask2Former (mask2former/maskformer_model.py), where they get
    those of them at which their own mask is at least one half.
    """
    logits, scores, classes = upsample(masks), class_scores(masks), masks.classes
    height, width = logits.shape[1:]
    answer = Answer(ids=np.zeros((height, width), dtype=int))
    taking_part = []
    for query in range(len(masks)):
        best = int(scores[query][:-1].argmax())
        score = scores[query][best]
        if not answer.decide(score, scores[query][-1]):
            answer.outcomes[Outcome.NO_OBJECT] += 1
        elif not answer.decide(score, threshold):
            answer.outcomes[Outcome.LOW_SCORE] += 1
        else:
            taking_part.append((query, best, score))
    won: dict[int, list[tuple[int, int]]] = {query: [] for query, _, _ in taking_part}
    own: dict[int, set[tuple[int, int]]] = {query: set() for query, _, _ in taking_part}
    for y in range(height):
        for x in range(width):
            winner, most = None, -1.0
            for query, _, score in taking_part:
                value = score * sigmoid(logits[query, y, x])
                if not answer.decide(0.0, logits[query, y, x]):
                    own[query].add((y, x))
                if answer.decide(value, most):
                    winner, most = query, value
            if winner is not None:
                won[winner].append((y, x))
    merged: dict[int, int] = {}
    for query, label, score in taking_part:
        pixels = won[query]
        if masks.readings.segment_pixels == "kept":
            pixels = [place for place in pixels if place in own[query]]
        if not pixels or not own[query]:
            answer.outcomes[Outcome.NO_PIXEL] += 1
            continue
        if len(won[query]) / len(own[query]) < overlap:
            answer.outcomes[Outcome.OVERLAP] += 1
            continue
        answer.outcomes[Outcome.KEPT] += 1
        if label in merged and not classes.is_thing[label]:
            number = merged[label]
            _, old_score, old_area = answer.found[number - 1]
            answer.found[number - 1] = (label, max(score, old_score), old_area + len(pixels))
        else:
            answer.found.append((label, score, len(pixels)))
            number = merged[label] = len(answer.found)
        for y, x in pixels:
            answer.ids[y, x] = number
    return answer


def instances(masks: MaskSet, threshold: float, top: int) -> Answer:
    """``found``: (query, class, score, mask, box), best first."""
    logits, scores, classes = upsample(masks), class_scores(masks), masks.classes
    answer = Answer(ids=np.zeros(0))
    pairs = [(q, k) for q in range(len(masks)) for k in range(len(classes))]
    pairs.sort(key=lambda pair: -scores[pair[0]][pair[1]])
    for one, other in itertools.pairwise(pairs):
        answer.slack = min(answer.slack, scores[one[0]][one[1]] - scores[other[0]][other[1]])
    outcome_of: dict[int, Outcome] = {}
    for query, label in pairs[:top]:
        score, inside = scores[query][label], []
        for y in range(logits.shape[1]):
            for x in range(logits.shape[2]):
                if answer.decide(logits[query, y, x], 0.0):
                    inside.append((y, x))
        if masks.readings.things_only and not classes.is_thing[label]:
            outcome = Outcome.STUFF
        elif answer.decide(threshold, score):
            outcome = Outcome.LOW_SCORE
        elif not inside:
            outcome = Outcome.NO_PIXEL
        else:
            if masks.class_logits is not None:
                score *= sum(sigmoid(logits[query, y, x]) for y, x in inside) / len(inside)
            outcome = Outcome.LOW_SCORE if answer.decide(threshold, score) else Outcome.KEPT
            if outcome is Outcome.KEPT:
                ys, xs = [y for y, _ in inside], [x for _, x in inside]
                box = (min(xs), min(ys), max(xs) + 1, max(ys) + 1)
                answer.found.append((query, label, score, logits[query] > 0, box))
        if outcome is Outcome.KEPT:
            outcome_of[query] = outcome
        elif label == scores[query][:-1].argmax():
            outcome_of.setdefault(query, outcome)
    for query in range(len(masks)):
        outcome = outcome_of.get(query, Outcome.BEYOND_TOP)
        if outcome is not Outcome.KEPT and not answer.decide(
            scores[query][:-1].max(), scores[query][-1]
        ):
            outcome = Outcome.NO_OBJECT
        answer.outcomes[outcome] += 1
    answer.found.sort(key=lambda item: -item[2])
    return answer


def labelled(masks: MaskSet) -> tuple[Answer, np.ndarray]:
    """A pixel labeller's class of every pixel, and that class's softmax probability."""
    logits = upsample(masks)
    answer = Answer(ids=np.zeros(logits.shape[1:], dtype=int))
    sure = np.zeros(logits.shape[1:])
    for y, x in np.ndindex(*sure.shape):
        for label in range(1, len(masks)):
            best = int(answer.ids[y, x])
            if answer.decide(float(logits[label, y, x]), float(logits[best, y, x])):
                answer.ids[y, x] = label
        sure[y, x] = softmax(logits[:, y, x])[answer.ids[y, x]]
    return answer, sure


def regions(ids: np.ndarray, label: int, split: bool) -> list[set[tuple[int, int]]]:
    """The pixels of a class; with ``split`` its 8-connected components, by flood fill."""
    left = {(y, x) for y, x in np.ndindex(*ids.shape) if ids[y, x] == label}
    if not split:
        return [left] if left else []
    found = []
    while left:
        region, edge = set(), [min(left)]
        left.remove(edge[0])
        while edge:
            y, x = edge.pop()
            region.add((y, x))
            for neighbour in [(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]:
                if neighbour in left:
                    left.remove(neighbour)
                    edge.append(neighbour)
        found.append(region)
    return found
