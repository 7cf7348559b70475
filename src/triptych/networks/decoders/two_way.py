"""The mask decoder of Segment Anything: tokens and image look at each other, both ways.

Kirillov et al., "Segment Anything" (ICCV 2023), section 3 and appendix A, figure 14.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from triptych.networks.decoders.prompt_encoder import EncodedPrompts
from triptych.networks.decoders.query import MLP
from triptych.networks.layers.attention import Attention
from triptych.networks.layers.channel_norm import ChannelNorm
from triptych.networks.layers.linear import Linear

# Letters: P prompts, T tokens of a prompt, S cells of the image embedding, M masks of a prompt.


class TwoWayBlock(nn.Module):
    """Tokens look at each other and at the image, then the image looks at the tokens.

    Args:
        dim: width ``C``.
        heads: attention heads.
        feedforward: hidden width of the feed-forward.
        inner: width inside the attention between tokens and image.
        eps: of the norms.
        first: whether this is the first block, whose tokens are nothing but their positions yet:
            its self-attention adds neither positions nor a shortcut.
    """

    def __init__(
        self, dim: int, heads: int, feedforward: int, inner: int, eps: float, *, first: bool
    ) -> None:
        super().__init__()
        self.first = first
        self.self_attention = Attention(dim, heads)
        self.norm1 = nn.LayerNorm(dim, eps=eps)
        self.to_image = Attention(dim, heads, inner)
        self.norm2 = nn.LayerNorm(dim, eps=eps)
        self.linear1 = Linear(dim, feedforward)
        self.linear2 = Linear(feedforward, dim)
        self.norm3 = nn.LayerNorm(dim, eps=eps)
        self.to_tokens = Attention(dim, heads, inner)
        self.norm4 = nn.LayerNorm(dim, eps=eps)

    def forward(
        self,
        tokens: Tensor,
        image: Tensor,
        position: Tensor,
        grid: Tensor,
        present: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        """Refine both.

        Args:
            tokens: ``(P, T, C)``.
            image: ``(P, S, C)``, or ``(1, S, C)`` while it is the same for all prompts.
            position: ``(P, T, C)``, of the tokens.
            grid: ``(1, S, C)``, of the image's cells.
            present: ``(P, 1, T)``, False for tokens that nobody looks at; None if there are none.

        Returns:
            Tokens ``(P, T, C)`` and image ``(P, S, C)``.
        """
        if self.first:
            tokens = self.self_attention(tokens, tokens, tokens, present)
        else:
            placed = tokens + position
            tokens = tokens + self.self_attention(placed, placed, tokens, present)
        tokens = self.norm1(tokens)
        placed_image = image + grid
        tokens = self.norm2(tokens + self.to_image(tokens + position, placed_image, image))
        tokens = self.norm3(tokens + self.linear2(self.linear1(tokens, "relu")))
        looked = self.to_tokens(placed_image, tokens + position, tokens, present)
        return tokens, self.norm4(image + looked)


class TwoWayTransformer(nn.Module):
    """Two-way blocks, and a last look of the tokens at the image.

    Args:
        dim: width ``C``.
        heads: attention heads.
        feedforward: hidden width of the feed-forward.
        layers: number of blocks.
        inner: width inside the attention between tokens and image.
        eps: of the norms in the blocks.
    """

    def __init__(
        self, dim: int, heads: int, feedforward: int, layers: int, inner: int, eps: float
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            TwoWayBlock(dim, heads, feedforward, inner, eps, first=index == 0)
            for index in range(layers)
        )
        self.to_image = Attention(dim, heads, inner)
        self.norm = nn.LayerNorm(dim)

    def forward(
        self, position: Tensor, image: Tensor, grid: Tensor, present: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Tokens ``(P, T, C)`` and image ``(P, S, C)``; see :class:`TwoWayBlock`.

        The tokens begin as their positions.
        """
        tokens = position
        for block in self.blocks:
            tokens, image = block(tokens, image, position, grid, present)
        tokens = tokens + self.to_image(tokens + position, image + grid, image)
        return self.norm(tokens), image


class MaskDecoder(nn.Module):
    """Encoded prompts and an image embedding to masks, and how good each is.

    The first mask is for prompts that leave no choice, the other ``masks`` for what a prompt may
    mean.

    Args:
        dim: width ``C``; a multiple of 8.
        heads: attention heads.
        feedforward: hidden width of the feed-forward.
        layers: two-way blocks.
        masks: for a prompt that may mean several things.
        quality_hidden: hidden width of the layers that estimate quality.
        eps: of the norms in the two-way blocks.
    """

    def __init__(
        self,
        dim: int,
        heads: int = 8,
        feedforward: int = 2048,
        layers: int = 2,
        *,
        masks: int = 3,
        quality_hidden: int = 256,
        eps: float = 1e-5,
    ) -> None:
        super().__init__()
        self.quality_token = nn.Parameter(torch.empty(1, dim))
        self.mask_tokens = nn.Parameter(torch.empty(masks + 1, dim))
        for token in (self.quality_token, self.mask_tokens):
            nn.init.normal_(token)
        self.transformer = TwoWayTransformer(dim, heads, feedforward, layers, dim // 2, eps)
        self.upscale1 = nn.ConvTranspose2d(dim, dim // 4, 2, 2)
        self.upscale_norm = ChannelNorm(dim // 4)
        self.upscale2 = nn.ConvTranspose2d(dim // 4, dim // 8, 2, 2)
        self.hypernetworks = nn.ModuleList(
            MLP(dim, dim, dim // 8, layers=3) for _ in range(masks + 1)
        )
        self.quality = MLP(dim, quality_hidden, masks + 1, layers=3)

    def forward(
        self, embedding: Tensor, grid: Tensor, prompts: EncodedPrompts, *, multimask: bool
    ) -> tuple[Tensor, Tensor]:
        """Masks of ``P`` prompts for one image.

        Without mask prompts the image is the same for all of them until it has looked at their
        tokens: what the first block makes of it is computed once.

        Args:
            embedding: ``(1, C, h, w)``, of the image.
            grid: ``(h * w, C)``, positions of its cells.
            prompts: see there.
            multimask: give masks 1 to ``M``, or mask 0 alone.

        Returns:
            Mask logits ``(P, M, 4h, 4w)``, and estimates of their IoU ``(P, M)``, which are meant
            to be from 0 to 1 and not bound to.
        """
        count, height = len(prompts.tokens), embedding.shape[2]
        own = torch.cat((self.quality_token, self.mask_tokens))
        tokens = torch.cat((own.expand(count, -1, -1), prompts.tokens), 1)
        present = prompts.present
        if present is not None:
            present = F.pad(present, (len(own), 0), value=True)[:, None]
        image = (embedding + prompts.dense).flatten(2).transpose(1, 2)
        tokens, image = self.transformer(tokens, image, grid[None], present)

        chosen = slice(1, None) if multimask else slice(0, 1)
        cells = image.transpose(1, 2).unflatten(2, (height, -1))
        fine = F.gelu(self.upscale_norm(self.upscale1(cells)))
        fine = F.gelu(self.upscale2(fine))
        mask_tokens = tokens[:, 1 : len(own)].unbind(1)
        networks = list(self.hypernetworks)
        weights = torch.stack(
            [
                network(token)
                for network, token in zip(networks[chosen], mask_tokens[chosen], strict=True)
            ],
            1,
        )
        masks = (weights @ fine.flatten(2)).unflatten(2, fine.shape[2:])
        return masks, self.quality(tokens[:, 0])[:, chosen]
