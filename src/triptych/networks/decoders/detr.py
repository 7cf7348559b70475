"""The query decoder of MaskFormer: DETR's, where every query sees one whole map."""

from __future__ import annotations

from dataclasses import replace

import torch.nn.functional as F
from torch import Tensor, nn

from triptych.networks.contract import Prediction
from triptych.networks.decoders.pixel import PixelFeatures
from triptych.networks.decoders.query import MaskHead
from triptych.networks.layers.attention import Attention
from triptych.networks.layers.position import sine_position


class DetrDecoderLayer(nn.Module):
    """Self-attention, cross-attention, feed-forward; norms after the sums.

    Args:
        dim: width ``C``.
        heads: attention heads.
        feedforward: hidden width.
        dropout: rate at which single values of what a sum adds are zeroed while training.
    """

    recomputable = True  # see train/recompute.py

    def __init__(self, dim: int, heads: int, feedforward: int, dropout: float) -> None:
        super().__init__()
        self.self_attention = Attention(dim, heads)
        self.norm1 = nn.LayerNorm(dim)
        self.cross_attention = Attention(dim, heads)
        self.norm2 = nn.LayerNorm(dim)
        self.linear1 = nn.Linear(dim, feedforward)
        self.linear2 = nn.Linear(feedforward, dim)
        self.norm3 = nn.LayerNorm(dim)
        self.dropout = nn.Dropout(dropout)
        for linear in (self.linear1, self.linear2):
            nn.init.xavier_uniform_(linear.weight)

    def forward(self, queries: Tensor, position: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Refine ``(B, N, C)`` queries that look at ``(B, S, C)`` keys and values."""
        placed = queries + position
        mixed = self.self_attention(placed, placed, queries)
        queries = self.norm1(queries + self.dropout(mixed))
        looked = self.cross_attention(queries + position, keys, values)
        queries = self.norm2(queries + self.dropout(looked))
        thought = self.linear2(F.relu(self.linear1(queries)))
        return self.norm3(queries + self.dropout(thought))


class DetrDecoder(nn.Module):
    """Transformer decoder of MaskFormer (Cheng et al. 2021, section 3.2; Carion et al. 2020).

    Queries start as zeros with learnt positions. Each layer lets them talk to one another, then
    look at the whole coarsest map.

    Args:
        inputs: width of that map; where it differs from ``dim``, a linear map comes first.
        dim: width ``C``; a multiple of 4 and of ``heads``.
        heads: attention heads.
        feedforward: hidden width.
        layers: decoder layers.
        queries: number of queries ``N``.
        classes: number of classes ``K``, without "no object".
        mask_dim: width of the mask features.
        dropout: see :class:`DetrDecoderLayer`.
        auxiliary_norm: whether queries pass the last norm before an auxiliary prediction is read
            from them, as the authors train. False is for networks trained by transformers with
            ``use_auxiliary_loss``: there they do not, and a prediction before the first layer,
            the same for all queries, is added.
    """

    def __init__(
        self,
        *,
        inputs: int,
        dim: int,
        heads: int,
        feedforward: int,
        layers: int,
        queries: int,
        classes: int,
        mask_dim: int,
        dropout: float = 0.1,
        auxiliary_norm: bool = True,
    ) -> None:
        super().__init__()
        self.auxiliary_norm = auxiliary_norm
        self.project: nn.Module = nn.Identity()
        if inputs != dim:
            self.project = nn.Conv2d(inputs, dim, 1)
            nn.init.kaiming_uniform_(self.project.weight, a=1)
        self.query_position = nn.Embedding(queries, dim)
        self.layers = nn.ModuleList(
            DetrDecoderLayer(dim, heads, feedforward, dropout) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(dim)
        self.head = MaskHead(dim, classes, mask_dim)

    def forward(self, features: PixelFeatures) -> Prediction:
        """Decode to a prediction with ``mask_logits (B, N, H/4, W/4)``.

        The queries look at the first map of ``features.memory``. While training, ``auxiliary``
        holds the predictions after each layer but the last.
        """
        memory = self.project(features.memory[0])
        batch, dim, height, width = memory.shape
        values = memory.flatten(2).transpose(1, 2)
        keys = values + sine_position(height, width, dim, values.device, values.dtype).flatten(1).T
        position = self.query_position.weight.expand(batch, -1, -1)
        queries = position.new_zeros(position.shape)
        auxiliary = []
        for index, layer in enumerate(self.layers):
            if self.training and (index or not self.auxiliary_norm):
                read = self.norm(queries) if self.auxiliary_norm else queries
                auxiliary.append(self.head.predict(read, features.mask_features))
            queries = layer(queries, position, keys, values)
        last = self.head.predict(self.norm(queries), features.mask_features)
        return replace(last, auxiliary=tuple(auxiliary))
