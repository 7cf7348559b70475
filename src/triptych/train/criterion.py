"""The losses of set prediction."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from triptych.data.targets import Targets
from triptych.networks.contract import Prediction
from triptych.train.matcher import Matcher
from triptych.train.points import (
    AtPoints,
    masks_of,
    sample_logits,
    sample_nearest,
    uncertain_points,
)
from triptych.truth import ignored_id

CROWD = 0.4
"""Probability of its class that a crowd query learns: less than half, so that it is an object in
no reading that wants one to be likelier than not, and its class still wins where nothing else
is."""


DUPLICATE_IOU = 0.5
"""Intersection over union above which a mask is one of a segment."""


class SetCriterion(nn.Module):
    """Class, mask, dice and (optionally) semantic loss, summed over decoder layers.

    Mask2Former, section 3.3, with deep supervision: each layer's prediction is matched anew;
    matched queries learn their segment's class and mask, the others "no object". Four additions,
    all for data that label things by class only, or in part:

    - A query matched to an ambiguous region (``Targets.ambiguous``: perhaps several touching
      objects) learns its class and to stay inside, not to fill it. Other queries that lie mostly
      inside such a region are not taught "no object".
    - Queries that lie mostly in void are not taught "no object" either, and where an image has
      classes that nobody labelled (``Targets.unlabelled``) "no object" means "none of the others".
    - ``semantic`` weighs a loss on the semantic reading itself: the negative log-likelihood of
      the true class under ``sum_i p_i(k) sigmoid(m_i)``, normalised over ``k``. It needs no
      matching, so every labelled pixel teaches from the first step on.
    - Crowd queries (``Matcher.crowd_query``) hold what no other query tells apart, such as the far
      end of a row of cars. They are taught by the semantic loss alone, and that loss then reads
      and teaches them and the own queries only (but see ``semantic_for_all``): one mask over all
      objects of a class satisfies it, which is what a crowd query is for and what a query for one
      object must not learn. So crowd and own queries are a whole class map by themselves, and
      what no other query finds is not missing in it.

    Args:
        matcher: assigns segments to queries.
        no_object: weight of "no object" in the class loss (``eos_coef`` in DETR's code).
        double: the same for a query that fits a segment (intersection over union above
            :data:`DUPLICATE_IOU`) which another one answers for, own queries' segments aside; as
            ``no_object`` by default. 0 is for networks that suppress doubles themselves
            (:func:`~triptych.networks.decoders.nms.mask_nms`): their queries may
            all be sure of what they see.
        classification: weight of the class loss.
        mask: weight of the binary cross-entropy at the points.
        dice: weight of the dice loss at the points.
        semantic: weight of the semantic reading's loss; 0 leaves it out.
        class_weights: ``K`` weights of the classes in the semantic loss, all 1 by default.
        ambiguous: weight of pixels of ambiguous regions in the semantic loss. There it is the only
            loss that fills masks, and one mask over all the objects satisfies it, so the full
            weight teaches to merge what touches.
        semantic_for_all: where there are crowd queries, half of the semantic loss reads and
            teaches all queries. For the end of a training: crowd queries fill the class map by
            then, and what free queries add to it wrongly, many a little, only this half sees.
        points: points for each matched mask, and for each image in the semantic loss.
    """

    def __init__(
        self,
        matcher: Matcher,
        *,
        no_object: float = 0.1,
        double: float | None = None,
        classification: float = 2.0,
        mask: float = 5.0,
        dice: float = 5.0,
        semantic: float = 0.0,
        class_weights: tuple[float, ...] = (),
        ambiguous: float = 1.0,
        semantic_for_all: bool = False,
        points: int = 12544,
    ) -> None:
        super().__init__()
        self.matcher = matcher
        self.no_object = no_object
        self.for_doubles = double
        self.weights = {"class": classification, "mask": mask, "dice": dice, "semantic": semantic}
        self.ambiguous = ambiguous
        self.semantic_for_all = semantic_for_all
        self.points = points
        self.class_weights: Tensor | None = None
        if class_weights:
            self.class_weights = torch.tensor(class_weights, dtype=torch.float32, device="cpu")

    def forward(
        self,
        prediction: Prediction,
        targets: list[Targets],
        mean_over_processes: Callable[[float], float] = float,
    ) -> dict[str, Tensor]:
        """Losses of a batch, weighted, summed over layers; their sum is what to minimise.

        Args:
            prediction: a network's output, auxiliary predictions included.
            targets: the ground truth, one for each image.
            mean_over_processes: averages a number over the processes of a distributed run, so
                that the mask losses are normalised by the global number of segments.

        Returns:
            ``{"class", "mask", "dice", "semantic"}`` (the last only if its weight is not 0).

        Raises:
            TriptychError: a matching cost is not finite.
        """
        layers = (*prediction.auxiliary, prediction)
        matches = self.matcher.match_layers(layers, targets)
        # After the matching, which waits for the device anyway.
        count = sum(int(self.matcher.answerable(target).sum()) for target in targets)
        segments = max(1.0, mean_over_processes(count))
        classes = [
            self._class_loss(layer, targets, matched)
            for layer, matched in zip(layers, matches, strict=True)
        ]
        losses = {"class": torch.stack(classes).sum()}
        losses |= self._mask_losses(layers, targets, matches, segments)
        if self.weights["semantic"]:
            losses["semantic"] = self._semantic_loss(layers, targets)
        return {term: self.weights[term] * loss for term, loss in losses.items()}

    def _class_loss(
        self, layer: Prediction, targets: list[Targets], matches: list[tuple[Tensor, Tensor]]
    ) -> Tensor:
        """Cross-entropy over all queries of a layer, "no object" weighing ``no_object``."""
        assert layer.class_logits is not None, "a pixel labeller has another criterion"
        class_logits = layer.class_logits.float()
        batch, queries, columns = class_logits.shape
        shape, device = (batch, queries), class_logits.device
        truth = torch.full(shape, columns - 1, dtype=torch.long, device=device)
        weight = torch.full(shape, self.no_object, dtype=torch.float32, device=device)
        for number, (target, (query, segment)) in enumerate(zip(targets, matches, strict=True)):
            regions = [target.ambiguous, target.unclear[None]]
            if self.for_doubles is not None:
                regions.append(target.masks)
            common, own, theirs = self._areas(layer, number, torch.cat(regions))
            unclear = len(target.ambiguous) + 1
            if self.for_doubles is not None:
                shared = common[:, unclear:]
                fits = shared > DUPLICATE_IOU * (own[:, None] + theirs[unclear:] - shared)
                fits &= self.matcher.free_for(target)
                weight[number].masked_fill_(fits.any(1), self.for_doubles)
            # Which of a region's objects a query inside it has is not known, nor what lies in
            # void. (A query without pixels is inside of nothing, and learns "no object".)
            undecided = (common[:, :unclear] > 0.5 * own[:, None]).any(1)
            weight[number].masked_fill_(undecided, 0)
            truth[number, query] = target.all_class_ids[segment]
            weight[number, query] = 1
        loss = F.cross_entropy(class_logits.flatten(0, 1), truth.flatten(), reduction="none")
        loss = loss.view_as(weight)
        for number, target in enumerate(targets):
            if target.unlabelled is not None:
                nothing = truth[number] == columns - 1
                partial = _not_labelled(class_logits[number], target.unlabelled)
                loss[number] = torch.where(nothing, partial, loss[number])
        for class_id, row in self.matcher.crowd_query.items():
            logs = class_logits[:, row].log_softmax(-1)
            loss[:, row] = -CROWD * logs[:, class_id] - (1 - CROWD) * logs[:, -1]
            weight[:, row] = 1
        return (loss * weight).sum() / weight.sum().clamp(min=1e-6)

    @staticmethod
    @torch.no_grad()
    def _areas(layer: Prediction, image: int, regions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Pixels of the masks' grid that ``N`` queries share with ``regions (R, H, W)``.

        Returns:
            In common ``(N, R)``, of the queries ``(N,)``, of the regions ``(R,)``.
        """
        assert layer.class_logits is not None
        count, device = layer.class_logits.shape[1], layer.class_logits.device
        everything = torch.arange(count, dtype=torch.long, device=device)
        mask_logits = masks_of([layer], image, [everything])
        masks = (mask_logits > 0).flatten(1).float()
        # An image without any: interpolation takes no empty batch.
        coarse = masks.new_zeros(0, masks.shape[1])
        if len(regions):
            size = mask_logits.shape[-2:]
            resized = F.interpolate(regions[:, None].float(), size=size, mode="nearest")
            coarse = resized.flatten(1)
        return masks @ coarse.T, masks.sum(1), coarse.sum(1)

    def _mask_losses(
        self,
        layers: Sequence[Prediction],
        targets: list[Targets],
        matches: list[list[tuple[Tensor, Tensor]]],
        segments: float,
    ) -> dict[str, Tensor]:
        """Cross-entropy and dice of the matched masks at points where they are unsure.

        Masks of all layers together, image after image: no other mask is multiplied out.
        """
        by_image = [
            masks_of(layers, image, [layer[image][0] for layer in matches])
            for image in range(len(targets))
        ]
        masks = torch.cat(by_image)
        if not len(masks):  # no segment in the whole batch; keep the graph for the optimiser
            nothing = 0 * masks.sum()
            return {"mask": nothing, "dice": nothing}
        points = uncertain_points(masks, self.points)
        logits = sample_logits(masks[:, None], points).squeeze(1)
        truth, known = [], []
        for image, where in enumerate(points.split([len(rows) for rows in by_image])):
            target = targets[image]
            segment = torch.cat([layer[image][1] for layer in matches])
            covered = sample_nearest(target.all_masks, where, segment)
            exact = segment[:, None] < len(target.class_ids)
            truth.append(covered & exact)
            # What a query does inside its ambiguous region is its own affair.
            told = sample_nearest(target.known[None], where, torch.zeros_like(segment))
            known.append(told & (exact | ~covered))
        truth_at, known_at = torch.cat(truth).float(), torch.cat(known).float()
        entropy = F.binary_cross_entropy_with_logits(logits, truth_at, reduction="none") * known_at
        inside, truth_at = logits.sigmoid() * known_at, truth_at * known_at
        dice = 1 - (2 * (inside * truth_at).sum(1) + 1) / (inside.sum(1) + truth_at.sum(1) + 1)
        return {
            "mask": (entropy.sum(1) / known_at.sum(1).clamp(min=1)).sum() / segments,
            "dice": dice.sum() / segments,
        }

    def _semantic_loss(self, layers: Sequence[Prediction], targets: list[Targets]) -> Tensor:
        """Negative log-likelihood of the layers' semantic readings at uniformly drawn points."""
        # Queries that are read, and of these the parts that are a class map each.
        queries: list[int] | None = None
        parts: list[slice | list[int]] = [slice(None)]
        if self.matcher.crowd_query:
            crowds_and_own = list(self.matcher.fixed)
            if self.semantic_for_all:
                parts = [crowds_and_own, *parts]
            else:
                queries = crowds_and_own
        shape, device = (len(targets), self.points, 2), targets[0].semantic.device
        points = torch.rand(shape, dtype=torch.float32, device=device)
        read = AtPoints(points)
        likelihoods = []
        for layer in layers:
            assert layer.class_logits is not None
            inside = read(layer, queries).sigmoid()  # (B, N, P)
            class_logits = layer.class_logits if queries is None else layer.class_logits[:, queries]
            classes = class_logits.float().softmax(-1)[..., :-1]
            for part in parts:
                reading = classes[:, part].transpose(1, 2) @ inside[:, part]  # (B, K, P)
                # Not clamped: a pixel whose true class has likelihood 0 must have a gradient too.
                whole = reading.sum(1, keepdim=True)
                likelihoods.append((reading + 1e-6).log() - (whole + 1e-6).log())
        count = likelihoods[0].shape[1]

        def at_points(planes: Iterable[Tensor]) -> Tensor:
            return torch.cat(
                [sample_nearest(plane[None], p) for plane, p in zip(planes, points, strict=True)]
            )

        truth = at_points(target.semantic for target in targets)
        unsplit = at_points(target.ambiguous.any(0) for target in targets)
        weights = self.class_weights
        if weights is None:
            weights = torch.ones(count, dtype=torch.float32, device="cpu")
        unknown = ignored_id(count)
        weights = weights.to(points.device)[truth.where(truth != unknown, 0)] * (truth != unknown)
        weights = torch.where(unsplit, weights * self.ambiguous, weights)
        # The weighted mean; a batch of nothing but void costs nothing, and is no 0 / 0.
        weights = weights / weights.sum().clamp(min=1e-6)
        losses = [
            (F.nll_loss(likelihood, truth, ignore_index=unknown, reduction="none") * weights).sum()
            for likelihood in likelihoods
        ]
        return torch.stack(losses).sum() / len(parts)


def _not_labelled(class_logits: Tensor, unlabelled: Tensor) -> Tensor:
    """Cross-entropy ``(N,)`` of "no object, or of a class that nobody labelled", ``(N, K+1)``."""
    logs = class_logits.log_softmax(-1)
    return -torch.cat((logs[:, unlabelled], logs[:, -1:]), dim=1).logsumexp(1)
