"""The decoder of OneFormer: a task token makes object queries, which masked attention refines."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from triptych.networks.contract import Prediction, TaskName
from triptych.networks.decoders.detr import DetrDecoderLayer
from triptych.networks.decoders.pixel import PixelFeatures
from triptych.networks.decoders.query import QueryDecoder
from triptych.networks.decoders.task import TaskToken
from triptych.networks.layers.linear import PointConv
from triptych.networks.layers.position import sine_position


class QueryTransformer(nn.Module):
    """Object queries out of the task token (OneFormer, Jain et al., CVPR 2023, section 3.2).

    A decoder like DETR's looks at the mask features. The authors' code hands it features and
    positions in each other's place, and their weights are trained so: a query's values are the
    positions alone, and the features only tell where it looks.

    Args:
        dim: width ``C``; a multiple of 4 and of ``heads``.
        heads: attention heads.
        feedforward: hidden width.
        layers: decoder layers.
        dropout: see :class:`~triptych.networks.decoders.detr.DetrDecoderLayer`.
    """

    def __init__(
        self, *, dim: int, heads: int, feedforward: int, layers: int, dropout: float
    ) -> None:
        super().__init__()
        self.project = PointConv(dim, dim)
        nn.init.xavier_uniform_(self.project.weight)
        self.layers = nn.ModuleList(
            DetrDecoderLayer(dim, heads, feedforward, dropout) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(dim)

    def forward(self, queries: Tensor, position: Tensor, mask_features: Tensor) -> Tensor:
        """Refine ``(B, N, C)`` queries.

        Args:
            queries: what they start as.
            position: ``(N, C)``, added where queries are compared.
            mask_features: ``(B, C, h, w)``.
        """
        batch, dim, height, width = mask_features.shape
        values = sine_position(height, width, dim, mask_features.device, mask_features.dtype)
        # Every layer reads them, and would lay them out anew.
        values = values.flatten(1).T.contiguous().expand(batch, -1, -1)
        keys = values + self.project(mask_features).flatten(2).transpose(1, 2)
        for layer in self.layers:
            queries = layer(queries, position, keys, values)
        normed: Tensor = self.norm(queries)
        return normed


class OneFormerDecoder(nn.Module):
    """Task-conditioned decoder of OneFormer (Jain et al., CVPR 2023, sections 3.1 and 3.2).

    All queries but the last start as copies of the task token, told apart by their positions
    alone, and pass the query transformer. The token itself is the last query. From there on all is
    Mask2Former's decoder, whose norm before the heads norms the token too.

    Args:
        dim: width ``C``; a multiple of 4 and of ``heads``.
        heads: attention heads.
        feedforward: hidden width.
        layers: masked-attention layers.
        query_layers: layers of the query transformer.
        queries: number of queries ``N``, with the task token.
        classes: number of classes ``K``, without "no object".
        task_norm: whether the token is normed. Without, the other queries start as zeros.
        dropout: rate in the query transformer.
    """

    def __init__(
        self,
        *,
        dim: int,
        heads: int,
        feedforward: int,
        layers: int,
        query_layers: int,
        queries: int,
        classes: int,
        task_norm: bool = True,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.task_norm = task_norm
        self.task = TaskToken(dim)
        self.query_transformer = QueryTransformer(
            dim=dim, heads=heads, feedforward=feedforward, layers=query_layers, dropout=dropout
        )
        self.masked = QueryDecoder(
            dim=dim,
            heads=heads,
            feedforward=feedforward,
            layers=layers,
            queries=queries,
            classes=classes,
            content=False,
        )

    def forward(self, features: PixelFeatures, task: TaskName = "panoptic") -> Prediction:
        """Decode for a task to a prediction with ``mask_logits (B, N, H/4, W/4)``.

        While training, it is what :meth:`QueryDecoder.refine` gives then.
        """
        return self.masked.refine(self.queries(features.mask_features, task), features)

    def queries(self, mask_features: Tensor, task: TaskName) -> Tensor:
        """The queries ``(B, N, C)`` that the masked-attention layers start from, token last."""
        position = self.masked.query_position.weight
        batch, rest = mask_features.shape[0], len(position) - 1
        token = self._token(task).to(position.dtype).expand(batch, 1, -1)
        start = token if self.task_norm else torch.zeros_like(token)
        objects = self.query_transformer(start.expand(-1, rest, -1), position[:-1], mask_features)
        return torch.cat((objects, token), dim=1)

    def _token(self, task: TaskName) -> Tensor:
        """The task token ``(C,)`` in float32: before its norm it can be too large for float16."""
        token: Tensor = self.task(task)
        norm = self.masked.norm
        if not self.task_norm:
            return token
        return F.layer_norm(
            token, norm.normalized_shape, norm.weight.float(), norm.bias.float(), norm.eps
        )
