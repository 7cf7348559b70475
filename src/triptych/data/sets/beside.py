"""Objects that are void because of what they touch: a person at a bicycle may be its rider."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

REACH = 2
"""Pixels, in any direction, up to which two objects touch: outlines are drawn by hand."""


@dataclass(frozen=True)
class VoidBeside:
    """Which objects are void, by category."""

    pairs: Mapping[int, frozenset[int]] = field(default_factory=dict)
    """A category, and those whose touch makes its objects void."""

    def others(self, categories: list[int]) -> dict[int, list[int]]:
        """Which of some objects could make others void.

        Args:
            categories: of the objects of an image.

        Returns:
            By category that may become void: the places of objects that would do it. Only
            categories that are there, with others that are there.
        """
        found = {
            category: [place for place, other in enumerate(categories) if other in near]
            for category, near in self.pairs.items()
            if category in categories
        }
        return {category: places for category, places in found.items() if places}


def around(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """``mask (H, W)`` and all pixels that touch it."""
    touched: NDArray[np.bool_] = ndimage.maximum_filter(mask, size=2 * REACH + 1)
    return touched
