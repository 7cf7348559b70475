"""Hungarian matching: which query answers for which ground-truth segment."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from triptych.data.targets import Targets
from triptych.errors import TriptychError
from triptych.networks.contract import Prediction
from triptych.train.points import AtPoints, sample_nearest

FORBIDDEN = 1e6
"""Cost of a pair that must not be matched: far above any sum of real costs."""

TERMS = ("class", "mask", "dice")


class Matcher(nn.Module):
    """Bipartite matching on class, mask and dice cost at sampled points.

    Mask2Former, section 3.3 (costs as in DETR and MaskFormer): for each image the assignment of
    segments to queries with the least total cost. Costs are computed in fp32. Ambiguous regions
    are matched like segments, for each holds an object, unless their class has a crowd query:
    that one holds them, and a query that had to answer for a region without having to fill it
    would learn to be an object without pixels.

    Args:
        classification: weight of the class cost, ``-p_i(class)``.
        mask: weight of the mean binary cross-entropy over the points.
        dice: weight of the dice cost over the points.
        points: number of points, the same for all queries and segments of an image.
        own_query: class ids that always belong to one fixed query: the ``j``-th of them to query
            ``j``, which answers for nothing else. Stuff has at most one segment a class, so
            nothing is to be matched there, and a fixed query learns its class much sooner
            (MaskFormer, appendix, "fixed matching"). Empty for the paper's free matching; None
            in the place of a class leaves that query free.
        crowd_query: class ids that have a query for all of their pixels, which is matched with
            nothing: the ``j``-th of them query ``j``. Own queries come behind these. See
            :class:`~triptych.train.criterion.SetCriterion`.
        aligned: the class counts as far as the mask fits: the class cost is multiplied by one less
            the dice cost. Otherwise a query that is always sure of itself and has no pixels wins
            small objects, whose masks cost little, and they are lost to the query that would find
            them (a product as in Wang et al., "End-to-End Object Detection with Fully
            Convolutional Network", CVPR 2021).
        ambiguous: False leaves ambiguous regions of all classes unmatched, so that they only keep
            queries inside them from being taught "no object".
    """

    def __init__(
        self,
        *,
        classification: float = 2.0,
        mask: float = 5.0,
        dice: float = 5.0,
        points: int = 12544,
        own_query: Sequence[int | None] = (),
        crowd_query: Sequence[int | None] = (),
        aligned: bool = False,
        ambiguous: bool = True,
    ) -> None:
        super().__init__()
        self.aligned = aligned
        self.ambiguous = ambiguous
        self.classification = classification
        self.mask = mask
        self.dice = dice
        self.points = points
        self.crowd_query = _places(crowd_query, 0)
        self.own_query = _places(own_query, len(crowd_query))
        self.fixed = (*self.crowd_query.values(), *self.own_query.values())
        """The queries that are not free to answer for any segment."""

    def forward(
        self, prediction: Prediction, targets: list[Targets]
    ) -> list[tuple[Tensor, Tensor]]:
        """Match a batch.

        Returns:
            For each image the indices ``(queries, segments)``, both ``(min(N, T + C),)``; those
            from ``T`` on are ambiguous regions.

        Raises:
            TriptychError: a cost is not finite; the message names the image and the term.
        """
        return self.match_layers([prediction], targets)[0]

    @torch.no_grad()
    def match_layers(
        self, layers: Sequence[Prediction], targets: list[Targets]
    ) -> list[list[tuple[Tensor, Tensor]]]:
        """Match each layer's prediction of a batch by itself; for each what :meth:`forward` gives.

        All layers are compared at the same points, and their costs reach the processor together,
        so a GPU is waited for once a step.

        Raises:
            TriptychError: as :meth:`forward`.
        """
        costs = self._costs(layers, targets)
        flat = torch.cat([cost.flatten() for cost in costs]).cpu()
        parts = flat.split([cost.numel() for cost in costs])
        tables = [part.view_as(cost).numpy() for part, cost in zip(parts, costs, strict=True)]
        device = costs[0].device
        matches = [
            self._assign(number % len(targets), table, targets[number % len(targets)], device)
            for number, table in enumerate(tables)
        ]
        return [matches[i : i + len(targets)] for i in range(0, len(matches), len(targets))]

    def _costs(self, layers: Sequence[Prediction], targets: list[Targets]) -> list[Tensor]:
        """For each layer and image the weighted costs ``(3, N, T + C)``, in the order of TERMS."""
        device = targets[0].masks.device
        points = torch.rand((len(targets), self.points, 2), dtype=torch.float32, device=device)
        read = AtPoints(points)
        truths, knowns = [], []
        for target, where in zip(targets, points, strict=True):
            truths.append(sample_nearest(target.all_masks, where).float())
            knowns.append(sample_nearest(target.known[None], where).float())
        costs = []
        for layer in layers:
            assert layer.class_logits is not None, "a pixel labeller has nothing to match"
            probabilities = layer.class_logits.float().softmax(-1)
            logits = read(layer)
            for number, (target, truth, known) in enumerate(
                zip(targets, truths, knowns, strict=True)
            ):
                likely = probabilities[number][:, target.all_class_ids]
                dice = pairwise_dice(logits[number], truth, known)
                terms = (
                    -self.classification * (likely * (1 - dice) if self.aligned else likely),
                    self.mask * pairwise_cross_entropy(logits[number], truth, known),
                    self.dice * dice,
                )
                costs.append(torch.stack(terms))
        return costs

    def _assign(
        self, number: int, costs: np.ndarray, target: Targets, device: torch.device
    ) -> tuple[Tensor, Tensor]:
        for term, cost in zip(TERMS, costs, strict=True):
            if not np.isfinite(cost).all():
                raise TriptychError(
                    f"the {term} cost of image {number} of the batch is not finite; lower the "
                    "learning rate or train in fp32"
                )
        allowed = self._allowed(target, costs.shape[1]).numpy()
        total = costs.sum(0) + FORBIDDEN * ~allowed
        queries, segments = linear_sum_assignment(total)
        # With more segments of a kind than free queries, a forbidden pair may be left over.
        kept = total[queries, segments] < FORBIDDEN / 2
        matched = torch.from_numpy(np.stack((queries[kept], segments[kept]))).to(device)
        return matched[0], matched[1]

    def answerable(self, target: Targets) -> Tensor:
        """``(T + C,)`` bool, on the CPU: the segments and regions that are to be matched."""
        if not self.ambiguous:
            every = torch.arange(len(target.all_class_ids), dtype=torch.int64, device="cpu")
            return every < len(target.class_ids)
        if not self.crowd_query:
            return torch.ones(len(target.all_class_ids), dtype=torch.bool, device="cpu")
        crowds = torch.tensor([*self.crowd_query], dtype=torch.int64, device="cpu")
        regions = ~torch.isin(target.ambiguous_class_ids.cpu(), crowds)
        exact = torch.ones(len(target.class_ids), dtype=torch.bool, device="cpu")
        return torch.cat((exact, regions))

    def free_for(self, target: Targets) -> Tensor:
        """``(T,)`` bool: the segments that any free query may answer for."""
        own = torch.tensor([*self.own_query], dtype=torch.int64, device=target.class_ids.device)
        return ~torch.isin(target.class_ids, own)

    def _allowed(self, target: Targets, queries: int) -> Tensor:
        """``(N, T + C)``: whether a query may answer for a segment."""
        class_ids = target.all_class_ids.cpu()
        owner = torch.full_like(class_ids, -1)
        for class_id, number in self.own_query.items():
            owner[class_ids == class_id] = number
        query = torch.arange(queries, dtype=torch.int64, device="cpu")[:, None]
        fixed = torch.tensor(self.fixed, dtype=torch.int64, device="cpu")
        free = ~torch.isin(query, fixed) & (owner < 0)
        return (free | (query == owner)) & self.answerable(target)


def _places(class_ids: Sequence[int | None], first: int) -> dict[int, int]:
    """The query of each class."""
    numbered = enumerate(class_ids, start=first)
    return {class_id: number for number, class_id in numbered if class_id is not None}


def pairwise_cross_entropy(logits: Tensor, truth: Tensor, known: Tensor) -> Tensor:
    """Mean binary cross-entropy of each of ``(N, P)`` logits with each of ``(T, P)`` masks.

    ``known (1, P)`` is 0 where the ground truth is void. Of a logit ``x`` and truth ``t`` it is
    ``softplus(x) - x t``, which makes it a sum and one matrix product.
    """
    outside = (F.softplus(logits) * known).sum(-1)
    return (outside[:, None] - (logits * known) @ truth.T) / known.sum().clamp(min=1)


def pairwise_dice(logits: Tensor, truth: Tensor, known: Tensor) -> Tensor:
    """Dice cost of each of ``(N, P)`` logits with each of ``(T, P)`` masks."""
    inside = logits.sigmoid() * known
    truth = truth * known
    overlap = 2 * inside @ truth.T
    return 1 - (overlap + 1) / (inside.sum(-1)[:, None] + truth.sum(-1)[None] + 1)
