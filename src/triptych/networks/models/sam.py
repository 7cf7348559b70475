"""Segment Anything: an image encoder, and a decoder that is asked with points, boxes and masks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from triptych.errors import TriptychError
from triptych.networks.backbones.sam_vit import SAMViT
from triptych.networks.contract import Ask, EncoderDecoder, Prediction, Prompts
from triptych.networks.decoders.prompt_encoder import PromptEncoder
from triptych.networks.decoders.two_way import MaskDecoder

SIZES: dict[str, tuple[int, int, int, tuple[int, ...]]] = {
    "b": (768, 12, 12, (2, 5, 8, 11)),
    "l": (1024, 24, 16, (5, 11, 17, 23)),
    "h": (1280, 32, 16, (7, 15, 23, 31)),
}
"""Width, blocks, heads and global blocks of the published image encoders (Segment Anything,
appendix A)."""


class ImageEmbedding(NamedTuple):
    """What the encoder hands on."""

    embedding: Tensor
    """``(B, C, S / patch, S / patch)``: 256 channels of 64x64 as published."""


class SAM(EncoderDecoder):
    """Promptable segmentation of Kirillov et al. (ICCV 2023): masks of one class, "object"."""

    competition = "independent"
    asks = frozenset({Prompts})
    features_type = ImageEmbedding

    def __init__(
        self, encoder: SAMViT, prompt_encoder: PromptEncoder, mask_decoder: MaskDecoder
    ) -> None:
        super().__init__()
        self.size_divisor = encoder.image_size
        self.encoder = encoder
        self.prompt_encoder = prompt_encoder
        self.mask_decoder = mask_decoder

    def encode(self, pixels: Tensor) -> ImageEmbedding:
        """The embedding of normalised pixels ``(B, 3, S, S)``, ``S`` the one size that it takes.

        Raises:
            TriptychError: they are of another size.
        """
        return ImageEmbedding(self.encoder(pixels))

    def decode(self, features: ImageEmbedding, ask: Ask | None = None) -> Prediction:
        """Masks for ``P`` prompts in one image.

        Args:
            features: of one image.
            ask: :class:`triptych.networks.contract.Prompts`; coordinates are pixels of the
                network's input, where the centre of the first pixel is at 0.5 (the authors: 0).

        Returns:
            ``P * M`` masks ``(1, P * M, 4h, 4w)``, prompt after prompt, without classes, with
            ``quality`` and ``prompt``; ``M`` is 3 as published, or 1 without ``multimask``.

        Raises:
            TriptychError: there is no prompt, or more than one image, or shapes do not fit.
        """
        masks, quality = self.answer(features, ask)
        count, each = quality.shape
        prompt = torch.arange(count, dtype=torch.long, device=masks.device)
        return Prediction.from_logits(
            masks.flatten(0, 1)[None],
            None,
            quality=quality.flatten()[None].clamp(0, 1),
            prompt=prompt.repeat_interleave(each),
        )

    def answer(self, features: ImageEmbedding, ask: Ask | None) -> tuple[Tensor, Tensor]:
        """The same as the mask decoder gives it.

        Returns:
            Mask logits ``(P, M, 4h, 4w)``, and the network's estimates of their IoU ``(P, M)``,
            some of which may be outside 0..1.

        Raises:
            TriptychError: as :meth:`decode`.
        """
        if not isinstance(ask, Prompts):
            raise TriptychError(
                "this network answers prompts and nothing else; ask it with points, boxes or both"
            )
        embedding = features.embedding
        if len(embedding) != 1:
            raise TriptychError(
                f"prompts are for one image, and these are the features of {len(embedding)}; "
                "encode and ask one by one"
            )
        height, width = embedding.shape[2:]
        prompts = self.prompt_encoder(ask, (height, width))
        grid = self.prompt_encoder.positions.grid(height, width)
        masks, quality = self.mask_decoder(embedding, grid, prompts, multimask=ask.multimask)
        return masks, quality


def sam(
    *,
    classes: int = 1,
    size: str = "b",
    dim: int | None = None,
    depth: int | None = None,
    heads: int | None = None,
    global_blocks: Sequence[int] | None = None,
    hidden: int | None = None,
    image_size: int = 1024,
    patch: int = 16,
    window: int = 14,
    eps: float = 1e-6,
    width: int = 256,
    mask_channels: int = 16,
    prompt_eps: float = 1e-6,
    decoder_layers: int = 2,
    decoder_heads: int = 8,
    decoder_feedforward: int = 2048,
    decoder_eps: float = 1e-5,
    masks: int = 3,
    quality_hidden: int = 256,
) -> SAM:
    """Assemble a Segment Anything with random weights; the defaults are the authors'.

    Args:
        classes: 1, as masks have no classes.
        size: "b", "l" or "h"; gives the four numbers that follow where they are None.
        dim: width of the image encoder.
        depth: its blocks.
        heads: its attention heads.
        global_blocks: which of its blocks attend to the whole image, counted from 0.
        hidden: width inside its feed-forward; four times ``dim`` by default.
        image_size: height and width of the pixels.
        patch: side of a patch.
        window: side of the windows of its other blocks.
        eps: of the norms in its blocks.
        width: of the image embedding and both decoders; a multiple of 8.
        mask_channels: width of the layers that mask prompts go through; a multiple of 4.
        prompt_eps: of the norms there.
        decoder_layers: two-way blocks of the mask decoder.
        decoder_heads: its attention heads.
        decoder_feedforward: hidden width of its feed-forward.
        decoder_eps: of the norms in its two-way blocks. transformers takes 1e-6 there.
        masks: for a prompt that may mean several things.
        quality_hidden: hidden width of the layers that estimate quality.

    Raises:
        TriptychError: there is no such size, or there is more than one class.
    """
    if size not in SIZES:
        raise TriptychError(f"no SAM size is called {size!r}; choose from {', '.join(SIZES)}")
    if classes != 1:
        raise TriptychError(f"masks of SAM are all of one class, and not {classes}; give 1")
    sized = SIZES[size]
    dim = dim or sized[0]
    encoder = SAMViT(
        dim,
        depth or sized[1],
        heads or sized[2],
        hidden=hidden or 4 * dim,
        global_blocks=sized[3] if global_blocks is None else global_blocks,
        image_size=image_size,
        patch=patch,
        window=window,
        width=width,
        eps=eps,
    )
    prompt_encoder = PromptEncoder(width, image_size, mask_channels, prompt_eps)
    mask_decoder = MaskDecoder(
        width,
        decoder_heads,
        decoder_feedforward,
        decoder_layers,
        masks=masks,
        quality_hidden=quality_hidden,
        eps=decoder_eps,
    )
    return SAM(encoder, prompt_encoder, mask_decoder)
