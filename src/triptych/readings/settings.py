"""How a checkpoint's masks are read: thresholds, and the rules in which families differ."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from triptych.errors import TriptychError

SegmentPixels = Literal["kept", "won"]
SemanticResize = Literal["masks", "scores"]

THRESHOLDS = ("instance_threshold", "top", "panoptic_threshold", "overlap")
"""The fields that a person changes from reading to reading; the others belong to the network."""

_CHOICES = {
    "segment_pixels": get_args(SegmentPixels),
    "semantic_resize": get_args(SemanticResize),
}


@dataclass(frozen=True)
class ReadingSettings:
    """What the three readings do unless the caller says otherwise; owned by the checkpoint.

    Raises:
        TriptychError: a value is out of range, or not one of its choices.
    """

    instance_threshold: float = 0.5
    """Lowest score of an instance."""
    top: int = 100
    """How many (query, class) pairs the instance reading looks at."""
    panoptic_threshold: float = 0.8
    """Score above which a query takes part in the panoptic reading."""
    overlap: float = 0.8
    """Lowest ratio of the pixels that a query wins to its own pixels (Cheng et al., MaskFormer,
    2021, section 3.4)."""
    things_only: bool = True
    """What the instance reading lists. True (a panoptic checkpoint, whose queries cover stuff
    too): thing classes only. False (an instance-only checkpoint): all classes."""
    segment_pixels: SegmentPixels = "kept"
    """Which pixels a panoptic segment gets. ``"won"``: all that its query wins (MaskFormer).
    ``"kept"``: those of them at which the query's own mask is positive (Mask2Former)."""
    semantic_resize: SemanticResize = "masks"
    """What the semantic reading resizes to the image. ``"masks"``: the mask logits. ``"scores"``:
    the class scores, computed at the size of the network's input (MaskFormer and Mask2Former
    trained for semantic segmentation alone)."""

    def __post_init__(self) -> None:
        for name in ("instance_threshold", "panoptic_threshold", "overlap"):
            if not 0 <= getattr(self, name) <= 1:
                raise TriptychError(f"{name} is {getattr(self, name)}; give a number from 0 to 1")
        if self.top < 1:
            raise TriptychError(f"top is {self.top}; ask for at least one instance")
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise TriptychError(
                    f"{name} is {getattr(self, name)!r}; use {' or '.join(choices)}"
                )

    def replace(self, **changes: Any) -> ReadingSettings:
        """The same settings with some changed; a change to None is none.

        Raises:
            TriptychError: as the class.
        """
        given = {name: value for name, value in changes.items() if value is not None}
        return dataclasses.replace(self, **given)

    def thresholds(self) -> dict[str, float]:
        """The values of :data:`THRESHOLDS`, by name."""
        return {name: getattr(self, name) for name in THRESHOLDS}

    def to_dict(self) -> dict[str, Any]:
        """Plain data for a JSON file; :meth:`from_dict` reads it back."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ReadingSettings:
        """Read what :meth:`to_dict` wrote; what is missing has its default.

        Raises:
            TriptychError: an entry is unknown, of another type, or out of range.
        """
        defaults = cls()
        known = {
            field.name: type(getattr(defaults, field.name)) for field in dataclasses.fields(cls)
        }
        for name, value in data.items():
            if name not in known:
                raise TriptychError(f"unknown setting {name!r}; there are {', '.join(known)}")
            wanted = known[name]
            fits = type(value) in ((int, float) if wanted is float else (wanted,))
            if not fits:
                raise TriptychError(f"{name} is {value!r}; give a {wanted.__name__}")
        return cls(**data)
