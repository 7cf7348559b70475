"""The query decoder of Mask2Former: N queries, each refined by looking inside its own mask."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from triptych.errors import TriptychError
from triptych.networks.contract import DenseMasks, Prediction
from triptych.networks.decoders.anchors import Anchors
from triptych.networks.decoders.annealing import MaskAnnealing
from triptych.networks.decoders.factors import MaskFactors
from triptych.networks.decoders.nms import mask_nms
from triptych.networks.decoders.pixel import PixelFeatures
from triptych.networks.layers.attention import Attention
from triptych.networks.layers.linear import Linear
from triptych.networks.layers.position import sine_position


class MLP(nn.Sequential):
    """Linear layers with ReLU between them."""

    def __init__(self, inputs: int, hidden: int, outputs: int, layers: int) -> None:
        widths = [inputs] + [hidden] * (layers - 1) + [outputs]
        modules: list[nn.Module] = []
        for before, after in itertools.pairwise(widths):
            modules += [Linear(before, after), nn.ReLU()]
        super().__init__(*modules[:-1])


class MaskHead(nn.Module):
    """Query embeddings to class logits and masks (MaskFormer, Cheng et al. 2021, section 3.2).

    A query gives a distribution over the ``K`` classes and "no object", and an embedding whose
    dot product with each pixel's features is that pixel's mask logit.

    Args:
        dim: width ``C`` of the queries.
        classes: number of classes ``K``.
        mask_dim: width of the mask features; ``dim`` by default.
        anchors: of the last queries, if any.

    >>> head = MaskHead(dim=256, classes=19)
    >>> class_logits, mask_logits = head(torch.rand(2, 100, 256), torch.rand(2, 256, 64, 64))
    >>> class_logits.shape, mask_logits.shape
    (torch.Size([2, 100, 20]), torch.Size([2, 100, 64, 64]))
    """

    def __init__(
        self,
        dim: int,
        classes: int,
        mask_dim: int | None = None,
        *,
        anchors: Anchors | None = None,
    ) -> None:
        super().__init__()
        self.classes = Linear(dim, classes + 1)
        self.embedding = MLP(dim, dim, mask_dim or dim, layers=3)
        self.anchors: Anchors | None = anchors

    def forward(self, queries: Tensor, mask_features: Tensor) -> tuple[Tensor, Tensor]:
        """Map ``(B, N, C)`` and ``(B, mask_dim, h, w)`` to ``(B, N, K+1)`` and ``(B, N, h, w)``."""
        return self.classes(queries), self.masks(queries, mask_features)

    def predict(self, queries: Tensor, mask_features: Tensor) -> Prediction:
        """The same as a prediction, whose masks are not multiplied out while training."""
        factors = self.factors(queries, mask_features)
        masks = factors if self.training else DenseMasks(factors.dense())
        return Prediction(masks, self.classes(queries))

    def masks(self, queries: Tensor, mask_features: Tensor) -> Tensor:
        """Mask logits alone: ``(B, N, C)`` and ``(B, mask_dim, h, w)`` to ``(B, N, h, w)``."""
        return self.factors(queries, mask_features).dense()

    def factors(self, queries: Tensor, mask_features: Tensor) -> MaskFactors:
        """The same, not multiplied out."""
        place = None
        if self.anchors is not None:
            free = queries.shape[1] - self.anchors.count
            # An inverse reach of 0: free queries fade nowhere.
            place = F.pad(self.anchors(queries[:, free:]), (0, 0, free, 0))
        return MaskFactors(self.embedding(queries), mask_features, place)


class QueryDecoderLayer(nn.Module):
    """Masked cross-attention, self-attention, feed-forward; norms after the sums."""

    recomputable = True  # see train/recompute.py

    def __init__(self, dim: int, heads: int, feedforward: int) -> None:
        super().__init__()
        self.cross_attention = Attention(dim, heads)
        self.norm1 = nn.LayerNorm(dim)
        self.self_attention = Attention(dim, heads)
        self.norm2 = nn.LayerNorm(dim)
        self.linear1 = Linear(dim, feedforward)
        self.linear2 = Linear(feedforward, dim)
        self.norm3 = nn.LayerNorm(dim)
        for linear in (self.linear1, self.linear2):
            nn.init.xavier_uniform_(linear.weight)

    def forward(
        self, queries: Tensor, position: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None
    ) -> Tensor:
        """Refine ``(B, N, C)`` queries; ``mask (B, N, S)`` is True where a query may look."""
        looked = self.cross_attention(queries + position, keys, values, mask)
        queries = self.norm1(queries + looked)
        placed = queries + position
        queries = self.norm2(queries + self.self_attention(placed, placed, queries))
        return self.norm3(queries + self.linear2(self.linear1(queries, "relu")))


class QueryDecoder(nn.Module):
    """Masked-attention transformer decoder (Mask2Former, Cheng et al. 2022, section 3.2).

    Layer ``l`` looks at scale ``l mod 3`` of the memory, coarse to fine, and each query only at
    the positions where the mask it predicted last has probability 0.5 or more; a query whose mask
    is empty there looks everywhere, since attention over nothing is undefined.

    Args:
        dim: width ``C``.
        heads: attention heads.
        feedforward: hidden width.
        layers: decoder layers; predictions are made before the first and after each.
        queries: number of queries ``N``.
        classes: number of classes ``K``, without "no object".
        scales: number of memory maps.
        masked: False for plain cross-attention (an ablation: the paper's table 4).
        anchors: how many of the queries, the last ones, have an anchor; see :class:`Anchors`.
        annealing: first and last training step between which masks are annealed.
        nms: mask NMS: intersection over union from which on two masks of a class are one
            object's, and the less likely query becomes "no object", outside of training; None: off.
        content: whether queries start as learnt vectors. False for a decoder that is only asked to
            :meth:`refine` queries which something else made.

    Raises:
        TriptychError: ``nms`` is not above 0 and at most 1.
    """

    def __init__(
        self,
        *,
        dim: int,
        heads: int,
        feedforward: int,
        layers: int,
        queries: int,
        classes: int,
        scales: int = 3,
        masked: bool = True,
        anchors: int = 0,
        annealing: Sequence[int] | None = None,
        nms: float | None = None,
        content: bool = True,
    ) -> None:
        super().__init__()
        if nms is not None and not 0 < nms <= 1:
            raise TriptychError(f"nms is {nms}; give a share above 0, at most 1")
        self.nms = nms
        self.masked = masked
        self.annealing: MaskAnnealing | None = (
            MaskAnnealing(*annealing) if annealing and masked else None
        )
        if content:
            self.query_content = nn.Embedding(queries, dim)
        self.query_position = nn.Embedding(queries, dim)
        self.level = nn.Embedding(scales, dim)
        self.layers = nn.ModuleList(
            QueryDecoderLayer(dim, heads, feedforward) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(dim)
        self.head = MaskHead(dim, classes, anchors=Anchors(dim, anchors) if anchors else None)

    def forward(self, features: PixelFeatures) -> Prediction:
        """Decode to a prediction with ``mask_logits (B, N, H/4, W/4)``; see :meth:`refine`."""
        batch = features.mask_features.shape[0]
        return self.refine(self.query_content.weight.expand(batch, -1, -1), features)

    def refine(self, queries: Tensor, features: PixelFeatures) -> Prediction:
        """Decode from queries ``(B, N, C)``, with masks ``(B, N, H/4, W/4)``.

        While training, ``auxiliary`` holds the predictions made before each layer, and masks are
        :class:`~triptych.networks.decoders.factors.MaskFactors`. Otherwise
        earlier masks are computed only at the resolution where the next layer needs them.
        """
        mask_features = features.mask_features
        memory = [self._tokens(level, x) for level, x in enumerate(features.memory)]
        position = self.query_position.weight

        # Bilinear resizing is linear, so it commutes with the dot product that makes a mask:
        # resizing the features once per scale replaces resizing N masks in every layer.
        resized = [
            F.interpolate(mask_features, size=x.shape[-2:], mode="bilinear", align_corners=False)
            if self.masked
            else None
            for x in features.memory
        ]
        auxiliary = []
        for index, layer in enumerate(self.layers):
            level = index % len(memory)
            normed = self.norm(queries)
            if self.training:
                auxiliary.append(self.head.predict(normed, mask_features))
            mask = self._attention_mask(normed, resized[level])
            queries = layer(queries, position, *memory[level], mask)
        last = self.head.predict(self.norm(queries), mask_features)
        if self.nms is not None and not self.training:
            return mask_nms(last, self.nms)
        return replace(last, auxiliary=tuple(auxiliary))

    def _tokens(self, level: int, x: Tensor) -> tuple[Tensor, Tensor]:
        """Keys (with position) and values of one memory map, each ``(B, S, C)``."""
        values = x.flatten(2).transpose(1, 2) + self.level.weight[level]
        dim, height, width = x.shape[1:]
        position = sine_position(height, width, dim, x.device, x.dtype)
        return values + position.flatten(1).T, values

    @torch.no_grad()
    def _attention_mask(self, normed: Tensor, mask_features: Tensor | None) -> Tensor | None:
        """Where each query may look: boolean ``(B, N, S)``, or None for everywhere."""
        if mask_features is None:
            return None
        inside = self.head.masks(normed, mask_features).flatten(2) >= 0  # sigmoid >= 0.5
        if self.annealing is not None:
            inside = inside | self.annealing.unmasked(inside.shape[:2], inside.device)[..., None]
        return inside | ~inside.any(dim=-1, keepdim=True)
