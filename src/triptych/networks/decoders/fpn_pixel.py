"""MaskFormer's pixel decoder: a feature pyramid of convolutions."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from triptych.networks.decoders.pixel import ConvNorm, PixelFeatures


class PyramidStep(nn.Module):
    """One step up the pyramid: a coarse map, enlarged, joins the backbone's next finer one."""

    def __init__(self, lateral: int, dim: int) -> None:
        super().__init__()
        self.lateral = ConvNorm(lateral, dim, 1, activate=False)
        self.smooth = ConvNorm(dim, dim, 3)

    def forward(self, coarse: Tensor, finer: Tensor) -> Tensor:
        """Join ``(B, C, h, w)`` and ``(B, lateral, 2h, 2w)`` to ``(B, C, 2h, 2w)``."""
        up = F.interpolate(coarse, size=finer.shape[-2:], mode="nearest")
        return self.smooth(self.lateral(finer) + up)


class PlainFPNPixelDecoder(nn.Module):
    """The pixel decoder of MaskFormer (Cheng et al. 2021, section 3.2 and appendix A).

    A feature pyramid (Lin et al., CVPR 2017) with group norm. It makes the mask features alone:
    the queries look at the backbone's coarsest map, which is handed on untouched.

    Args:
        channels: widths of the four backbone maps, fine to coarse.
        dim: width of the pyramid's maps; a multiple of 8.
        mask_dim: width ``C`` of the mask features.
    """

    def __init__(
        self, channels: tuple[int, int, int, int], dim: int = 256, mask_dim: int = 256
    ) -> None:
        super().__init__()
        self.stem = ConvNorm(channels[3], dim, 3)
        # Coarse to fine: 1/16, 1/8, 1/4.
        self.steps = nn.ModuleList(PyramidStep(width, dim) for width in reversed(channels[:3]))
        self.mask_features = nn.Conv2d(dim, mask_dim, 3, padding=1)
        nn.init.kaiming_uniform_(self.mask_features.weight, a=1)

    def forward(self, maps: tuple[Tensor, ...]) -> PixelFeatures:
        """Decode maps ``(B, C_i, H/s, W/s)`` at strides 4, 8, 16 and 32.

        The memory is one map, ``maps[3]``.
        """
        x = self.stem(maps[3])
        for step, finer in zip(self.steps, reversed(maps[:3]), strict=True):
            x = step(x, finer)
        return PixelFeatures(self.mask_features(x), (maps[3],))
