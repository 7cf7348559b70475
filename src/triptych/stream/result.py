"""What the pipeline gives for every frame, and the settings it is made with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from triptych.errors import TriptychError
from triptych.mask_set import MaskSet
from triptych.readings.instance import Instances
from triptych.readings.panoptic import PanopticMap
from triptych.readings.semantic import SemanticMap
from triptych.readings.settings import ReadingSettings
from triptych.stream.counting import Counts
from triptych.stream.frames import Frame
from triptych.stream.naming import Naming
from triptych.stream.track import Track, Tracking


@dataclass(frozen=True)
class Settings:
    """How a pipeline works.

    Raises:
        TriptychError: a value is out of range.
    """

    readings: ReadingSettings = field(default_factory=ReadingSettings)
    """Thresholds; :meth:`triptych.stream.pipeline.Pipeline.read_with` changes them on the go."""
    tracking: Tracking = field(default_factory=Tracking)
    batch_size: int = 8
    """The most frames, each of another source, that go through the network together."""
    window: float = 600.0
    """Seconds that the rolling history covers."""

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise TriptychError(f"batch_size is {self.batch_size}; it must be at least 1")
        if not 1 <= self.window <= 86400:
            raise TriptychError(f"window is {self.window}; give 1 to 86400 seconds")


@dataclass(frozen=True, eq=False)
class Result:
    """Everything about one frame of one source."""

    source: str
    """The name under which the source was added."""
    time: float
    """Seconds since 1970, on the clock of :attr:`triptych.stream.history.Bucket.start`. For a file
    that is the film's own clock, however fast it is read: the moment at which its first frame came
    through, and the seconds of the film since then."""
    revision: int
    """Rises by one with every result of the source; a frame that is read again under other
    thresholds or classes has a new one."""
    frame: Frame
    found: MaskSet
    """What the network gave."""
    masks: MaskSet
    """The same with the classes that hold for this frame."""
    readings: ReadingSettings
    """Thresholds behind the three readings that follow."""
    semantic: SemanticMap
    instances: Instances
    panoptic: PanopticMap
    tracks: tuple[Track, ...]
    """Objects that are followed; ``instances[track.instance]`` is a track's instance in this
    frame, those that are out of sight have none."""
    counts: Counts
    timings: Mapping[str, float]
    """Seconds by stage for this frame: decode, wait (until the network was free), network
    (preprocessing included, of the whole batch), readings, track (counting included). A frame
    that is read again has only the last two."""
    naming: Naming | None = None
    """The classes behind all of it; None: the network's."""
