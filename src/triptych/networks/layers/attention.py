"""Multi-head attention with separate position terms, as DETR-style decoders use it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from triptych.networks.layers.linear import Linear


class Attention(nn.Module):
    """Multi-head attention whose keys and values come from separate inputs.

    Args:
        dim: width ``C`` of queries, keys, values and output.
        heads: number of heads; divides ``inner``.
        inner: width of all heads together; ``dim`` by default.
    """

    def __init__(self, dim: int, heads: int, inner: int | None = None) -> None:
        super().__init__()
        inner = inner or dim
        if inner % heads:
            raise ValueError(f"{heads} heads do not divide {inner} channels")
        self.heads = heads
        self.query = Linear(dim, inner)
        self.key = Linear(dim, inner)
        self.value = Linear(dim, inner)
        self.out = Linear(inner, dim)
        for linear in (self.query, self.key, self.value, self.out):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)

    def project(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Project ``(B, S, C)`` to per-head keys and values ``(B, heads, S, inner/heads)``."""
        return self._split(self.key(keys)), self._split(self.value(values))

    def forward(
        self, queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None = None
    ) -> Tensor:
        """Attend from ``(B, N, C)`` queries to ``(B, S, C)`` keys and values.

        Queries, or keys and values, that are the same for the whole batch come once, with a batch
        of 1; they are projected once too.

        Args:
            mask: boolean ``(B, N, S)``, True where a query may look, the same for every head;
                None lets every query look everywhere. ``N`` may be 1 if all may look alike.
        """
        query = self._split(self.query(queries))
        key, value = self.project(keys, values)
        if len(query) != len(key):
            batch = max(len(query), len(key))  # expanded, not copied
            query, key, value = (part.expand(batch, -1, -1, -1) for part in (query, key, value))
        if mask is not None:
            mask = mask[:, None]
        return self.out(merge_heads(attend(query, key, value, mask)))

    def _split(self, tokens: Tensor) -> Tensor:
        return tokens.unflatten(-1, (self.heads, -1)).transpose(1, 2)


def attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    """Scaled dot-product attention of ``(..., N, d)`` queries to ``(..., S, d)`` keys and values.

    In training on a CPU it is written out: torch's kernels are made for the forward pass there, and
    with a mask their gradient takes twice as long, of small windows in bf16 2.4 times.

    Args:
        mask: boolean, True where a query may look, or numbers to add to the scores; broadcast to
            ``(..., N, S)``. None lets every query look everywhere.
    """
    if query.device.type != "cpu" or not (torch.is_grad_enabled() and query.requires_grad):
        return F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)
    if mask is not None and mask.dtype == torch.bool:
        nowhere = scores.new_zeros(()).fill_(-torch.inf)
        mask = torch.where(mask, scores.new_zeros(()), nowhere)
    if mask is not None:
        scores = scores + mask.to(scores.dtype)
    return scores.softmax(-1) @ value


def merge_heads(mixed: Tensor) -> Tensor:
    """``(B, heads, N, d)``, the result of :func:`attend`, to ``(B, N, heads * d)``.

    The layout of that result depends on the kernel, which torch chooses by whether gradients are
    wanted. A graph must not depend on it: an exporter that traces without gradients and rewrites
    the graph with them would find a view that is no longer possible.
    """
    tokens = mixed.transpose(1, 2)
    if torch.compiler.is_compiling():
        # A node in the graph, which compilers drop where it changes nothing.
        tokens = tokens.clone(memory_format=torch.contiguous_format)
    return tokens.flatten(2)
