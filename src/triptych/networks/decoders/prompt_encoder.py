"""The prompt encoder of Segment Anything: points, boxes and masks to tokens and a map.

Kirillov et al., "Segment Anything" (ICCV 2023), section 3 and appendix A; places are encoded by
random Fourier features (Tancik et al., NeurIPS 2020).
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from triptych.errors import TriptychError
from triptych.networks.contract import Prompts
from triptych.networks.layers.channel_norm import ChannelNorm

FILLER = -1
"""Label of a point that is none."""


class EncodedPrompts(NamedTuple):
    """``P`` prompts as the mask decoder takes them."""

    tokens: Tensor
    """``(P, n, C)``: points, then the two corners of a box."""
    present: Tensor | None
    """``(P, n)`` bool: False for tokens that only fill up a row; None if there are none."""
    dense: Tensor
    """``(P, C, h, w)``, or ``(1, C, 1, 1)`` without mask prompts; added to the image embedding."""


class FourierPositions(nn.Module):
    """Places in an image as sines and cosines of random frequencies, which are never trained.

    Args:
        dim: width ``C`` of the result.
    """

    frequencies: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        # Fixed, but drawn at random: a file has to hold them.
        self.register_buffer(
            "frequencies", torch.randn((2, dim // 2), dtype=torch.float32, device="cpu")
        )

    def forward(self, places: Tensor) -> Tensor:
        """Map x and y, 0 to 1 over the network's input, ``(..., 2)`` to ``(..., C)``."""
        # Products and no matrix product, which autocast would round: an angle is many turns.
        x, y = (2 * places.float() - 1).unbind(-1)
        across, down = self.frequencies.float()
        angles = 2 * math.pi * (x[..., None] * across + y[..., None] * down)
        return torch.cat((angles.sin(), angles.cos()), -1).to(self.frequencies.dtype)

    def grid(self, height: int, width: int) -> Tensor:
        """The centres of a map's cells, ``(height * width, C)``, row by row."""
        plain: Any = {"dtype": torch.float32, "device": self.frequencies.device}
        down = (torch.arange(height, **plain) + 0.5) / height
        across = (torch.arange(width, **plain) + 0.5) / width
        y, x = torch.meshgrid(down, across, indexing="ij")
        return self(torch.stack((x, y), -1).flatten(0, 1))


class MaskEmbedding(nn.Module):
    """Mask logits, four times as fine as the image embedding, to a map like it."""

    def __init__(self, dim: int, channels: int, eps: float) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, channels // 4, 2, 2)
        self.norm1 = ChannelNorm(channels // 4, eps)
        self.conv2 = nn.Conv2d(channels // 4, channels, 2, 2)
        self.norm2 = ChannelNorm(channels, eps)
        self.conv3 = nn.Conv2d(channels, dim, 1)

    def forward(self, masks: Tensor) -> Tensor:
        """Map ``(P, 1, 4h, 4w)`` to ``(P, C, h, w)``."""
        x = F.gelu(self.norm1(self.conv1(masks)))
        x = F.gelu(self.norm2(self.conv2(x)))
        embedding: Tensor = self.conv3(x)
        return embedding


class PromptEncoder(nn.Module):
    """Points, boxes and masks to tokens and a map.

    Coordinates are those of :class:`triptych.networks.contract.Prompts`: pixels of the network's
    input, with the centre of the first pixel at 0.5. The authors and transformers count from its
    centre, for points and boxes alike, and add 0.5 themselves: what they call ``(x, y)`` is
    ``(x + 0.5, y + 0.5)`` here.

    Args:
        dim: width ``C`` of tokens and map.
        image_size: height and width of the network's input, in pixels.
        mask_channels: width of the layers that mask prompts go through.
        eps: of the norms there.
    """

    def __init__(
        self, dim: int, image_size: int, mask_channels: int = 16, eps: float = 1e-6
    ) -> None:
        super().__init__()
        self.image_size = image_size
        self.positions = FourierPositions(dim)
        self.kinds = nn.Parameter(torch.empty(4, dim))
        """Of a point beside the object, a point of it, a first and a last corner of a box."""
        self.not_a_point = nn.Parameter(torch.empty(1, dim))
        self.no_mask = nn.Parameter(torch.empty(1, dim))
        self.mask_embedding = MaskEmbedding(dim, mask_channels, eps)
        for embedding in (self.kinds, self.not_a_point, self.no_mask):
            nn.init.normal_(embedding)

    def forward(self, ask: Prompts, grid: tuple[int, int]) -> EncodedPrompts:
        """Encode ``P`` prompts.

        As in the authors' code, points without a box are followed by one token that says so.
        Points with the label -1 are tokens of the same kind, which are not ``present``: a prompt
        is understood alike whether or not it stands in a row with longer ones. (In the authors'
        code, and in transformers, what fills up a row is looked at like a point.)

        Args:
            ask: points without labels are taken for points of the object.
            grid: height and width of the image embedding.

        Raises:
            TriptychError: there is neither a point nor a box, or shapes do not fit together.
        """
        _check(ask, grid)
        tokens, present = [], []
        if ask.points is not None:
            points, there = self._points(ask.points, ask.labels, last=ask.boxes is None)
            tokens.append(points)
            present.append(there)
        if ask.boxes is not None:
            corners = self._place(ask.boxes.unflatten(1, (2, 2))) + self.kinds[2:]
            tokens.append(corners)
            present.append(torch.ones_like(corners[..., 0], dtype=torch.bool))
        if ask.masks is None:
            dense = self.no_mask[:, :, None, None]
        else:
            dense = self.mask_embedding(ask.masks.to(self.no_mask.device, self.no_mask.dtype))
        seen = None if ask.points is None else torch.cat(present, 1)
        return EncodedPrompts(torch.cat(tokens, 1), seen, dense)

    def _points(
        self, points: Tensor, labels: Tensor | None, *, last: bool
    ) -> tuple[Tensor, Tensor]:
        """Tokens ``(P, n, C)`` and which are ``present``.

        Args:
            last: end each row with one more point, that is none.
        """
        if labels is None:
            labels = torch.ones(points.shape[:2], dtype=torch.long, device=points.device)
        labels = labels.to(self.kinds.device)
        present = labels != FILLER
        if last:
            points, labels = F.pad(points, (0, 0, 0, 1)), F.pad(labels, (0, 1), value=FILLER)
            present = F.pad(present, (0, 1), value=True)
        kind = labels[..., None]
        tokens = torch.where(kind == FILLER, self.not_a_point, self._place(points))
        tokens = torch.where(kind == 0, tokens + self.kinds[0], tokens)
        return torch.where(kind == 1, tokens + self.kinds[1], tokens), present

    def _place(self, points: Tensor) -> Tensor:
        encoded: Tensor = self.positions(points.to(self.kinds.device).float() / self.image_size)
        return encoded


def _check(ask: Prompts, grid: tuple[int, int]) -> None:
    """See that the parts of an ask fit together.

    Raises:
        TriptychError: they do not.
    """
    count, points = len(ask), 0
    if ask.points is not None and ask.points.ndim > 1:
        points = ask.points.shape[1]
    if not count or (ask.boxes is None and not points):
        raise TriptychError("there is no prompt; give points, boxes or both")
    fine = (4 * grid[0], 4 * grid[1])
    row = count, points
    wanted = {
        "points": (ask.points, (*row, 2)),
        "labels": (ask.labels, row),
        "boxes": (ask.boxes, (count, 4)),
        "masks": (ask.masks, (count, 1, *fine)),
    }
    for name, (given, shape) in wanted.items():
        if given is not None and tuple(given.shape) != shape:
            raise TriptychError(
                f"{name} have shape {tuple(given.shape)}; expected {shape} for {count} "
                f"prompt{'s' * (count > 1)}"
            )
