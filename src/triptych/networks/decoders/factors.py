"""Masks as the product that they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from triptych.networks.decoders.anchors import distance_at, squared_distance


@dataclass(frozen=True)
class MaskFactors:
    """What the masks of a batch are made of: ``embedding @ features``, less the distance.

    Multiplied out they are the largest thing that set prediction makes, once a decoder layer. The
    losses need the few rows that are matched, and some points of the others.
    """

    embedding: Tensor
    """``(B, N, C)``: of the queries."""

    features: Tensor
    """``(B, C, h, w)``: of the pixels; layers of one decoder share them."""

    place: Tensor | None = None
    """``(B, N, 4)``: where the masks fade; see
    :class:`~triptych.networks.decoders.anchors.Anchors`."""

    @property
    def maps(self) -> Tensor:
        """The features, which are read at points."""
        return self.features

    def only(self, queries: list[int]) -> MaskFactors:
        """The masks of some queries."""
        place = None if self.place is None else self.place[:, queries]
        return MaskFactors(self.embedding[:, queries], self.features, place)

    def dense(self) -> Tensor:
        """All mask logits, ``(B, N, h, w)``."""
        height, width = self.features.shape[-2:]
        logits = (self.embedding @ self.features.flatten(2)).unflatten(2, (height, width))
        if self.place is None:
            return logits
        x, y = (
            (torch.arange(length, dtype=torch.float32, device=logits.device) + 0.5) / length
            for length in (width, height)
        )
        across = squared_distance(self.place, 0, x)[:, :, None]
        return logits - (squared_distance(self.place, 1, y)[..., None] + across)

    def at(self, points: Tensor, features: Tensor) -> Tensor:
        """Logits ``(B, N, P)`` at points ``(B, P, 2)`` where the features are ``(B, C, P)``."""
        logits = self.embedding @ features.to(self.embedding.dtype)
        if self.place is None:
            return logits.float()
        coefficients, powers = distance_at(self.place, points)
        return torch.baddbmm(logits.float(), coefficients, powers, alpha=-1)

    def chosen(
        self, layers: Sequence[MaskFactors], image: int, queries: Sequence[Tensor]
    ) -> Tensor:
        """Logits ``(M, h, w)`` of some queries of each layer, in one product."""
        pairs = list(zip(layers, queries, strict=True))
        places = [layer.place[image, rows] for layer, rows in pairs if layer.place is not None]
        factors = MaskFactors(
            torch.cat([layer.embedding[image, rows] for layer, rows in pairs])[None],
            self.features[image : image + 1],
            torch.cat(places)[None] if places else None,
        )
        return factors.dense()[0].float()
