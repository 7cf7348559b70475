"""Where one shot of a film ends and the next begins: nothing in it is what it was."""

from __future__ import annotations

import numpy as np

GRID = (24, 32)
"""Rows and columns of the glance at a frame."""

CUT = 50.0
"""Mean change of brightness, of 255. In the packaged street clip every cut changes it by 51 or
more, and no other pair of frames by more than 22, or 47 when four of five frames are skipped."""


def glance(pixels: np.ndarray) -> np.ndarray:
    """The brightness of a few pixels of ``(H, W, 3)`` uint8, whatever its size: float32 24 x 32."""
    rows, columns = (
        np.linspace(0, edge - 1, count).round().astype(int)
        for edge, count in zip(pixels.shape, GRID, strict=False)
    )
    return pixels[np.ix_(rows, columns)].mean(axis=2, dtype=np.float32)


def is_cut(before: np.ndarray, after: np.ndarray) -> bool:
    """Whether two glances belong to different shots."""
    return bool(np.abs(before - after).mean() > CUT)
