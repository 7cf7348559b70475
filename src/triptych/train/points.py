"""Point sampling: losses on a few thousand points of the masks instead of whole masks.

Kirillov et al., "PointRend" (CVPR 2020); Mask2Former, section 3.3. Points are ``(x, y)`` in
``[0, 1)`` over the whole picture, so the same point serves grids of different resolutions.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from triptych.networks.contract import Prediction


class AtPoints:
    """Reads the masks of any layer at the same points ``(B, P, 2)``: ``(B, N, P)``, in fp32.

    The maps that the layers of a decoder share are read once. Reading and multiplying are both
    linear, so that it does not matter which comes first.
    """

    def __init__(self, points: Tensor) -> None:
        self.points = points
        self._maps: Tensor | None = None
        self._read: Tensor | None = None

    def __call__(self, layer: Prediction, queries: list[int] | None = None) -> Tensor:
        """Mask logits of a layer at the points; of some ``queries`` only if they are given."""
        masks = layer.masks if queries is None else layer.masks.only(queries)
        if self._read is None or self._maps is not masks.maps:
            self._maps = masks.maps
            self._read = sample_logits(masks.maps.float().contiguous(), self.points)
        return masks.at(self.points, self._read)


def masks_of(layers: Sequence[Prediction], image: int, queries: Sequence[Tensor]) -> Tensor:
    """Logits ``(M, h, w)`` of one image's queries in each layer, layer after layer, in fp32."""
    masks = [layer.masks for layer in layers]
    return masks[0].chosen(masks, image, queries)


def sample_logits(masks: Tensor, points: Tensor) -> Tensor:
    """Read ``(M, C, h, w)`` maps at points ``(M, P, 2)``, bilinearly: ``(M, C, P)``.

    Beyond the outermost pixel centres the border's value goes on. (Zeros there, as in PointRend's
    code, would make every mask look unsure along the image border and draw the points to it.)
    """
    grid = (2 * points - 1).unsqueeze(1)
    sampled = F.grid_sample(masks, grid, padding_mode="border", align_corners=False)
    return sampled.squeeze(2)


def sample_nearest(masks: Tensor, points: Tensor, rows: Tensor | None = None) -> Tensor:
    """Read ``(M, H, W)`` maps of any type at points ``(M, P, 2)`` or ``(P, 2)``: ``(M, P)``.

    With ``rows (R,)``, map ``rows[i]`` is read at the ``i``-th of points ``(R, P, 2)``: ``(R, P)``.
    Ground truth is read at the pixel under the point. It stays boolean or integer: nothing of
    the size of the masks is copied.
    """
    height, width = masks.shape[-2:]
    column = (points[..., 0] * width).long().clamp_(0, width - 1)
    row = (points[..., 1] * height).long().clamp_(0, height - 1)
    index = row * width + column
    if rows is not None:
        return masks.flatten(1)[rows[:, None], index]
    return masks.flatten(1).gather(1, index.expand(len(masks), -1))


@torch.no_grad()
def uncertain_points(
    mask_logits: Tensor, count: int, *, oversample: float = 3.0, importance: float = 0.75
) -> Tensor:
    """Choose ``count`` points for each of ``(M, h, w)`` masks, most of them where it is unsure.

    ``oversample * count`` points are drawn uniformly; the ``importance`` share of the result are
    those with the smallest absolute logit, the rest is drawn uniformly anew (PointRend, section
    3.1, training).

    Returns:
        Points ``(M, count, 2)``.
    """
    masks = len(mask_logits)
    device = mask_logits.device
    drawn = torch.rand((masks, int(count * oversample), 2), dtype=torch.float32, device=device)
    uncertain = int(count * importance)
    logits = sample_logits(mask_logits[:, None], drawn).squeeze(1)
    nearest = logits.abs().topk(uncertain, dim=1, largest=False).indices
    chosen = drawn.gather(1, nearest[..., None].expand(-1, -1, 2))
    anew = torch.rand((masks, count - uncertain, 2), dtype=torch.float32, device=device)
    return torch.cat((chosen, anew), dim=1)
