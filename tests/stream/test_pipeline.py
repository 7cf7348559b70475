from __future__ import annotations

import gc
import threading
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
import torch
from tests.stream.rendered import CLASSES, ExactNetwork, Thing, World
from tests.stream.waiting import eventually
from torch import Tensor

from triptych.errors import TriptychError
from triptych.image.geometry import Geometry
from triptych.mask_set import MaskSet
from triptych.readings.settings import ReadingSettings
from triptych.stream.frames import DropReason, Frame, Phase
from triptych.stream.layout import Layout, Line
from triptych.stream.pipeline import Pipeline
from triptych.stream.reader import Mode, Patience, Picture
from triptych.stream.result import Result, Settings
from triptych.stream.source import Source

WORLD = World(
    (
        Thing(1, "car", (-6, 10), (60, 0), (14, 8)),
        Thing(2, "person", (30, 30), (30, 0), (5, 10)),
    )
)
MIDDLE = Layout((Line("middle", (0.5, 0.0), (0.5, 1.0)),))


def recording(world: World = WORLD, seconds: float = 1.8) -> Source:
    return Source(lambda: world.pictures(seconds), name="recording")


def results(pipeline: Pipeline, name: str) -> int:
    return pipeline.health(name).results


class Flat:
    """A network that says "ground" of every picture, at hardly any cost."""

    classes = CLASSES
    readings = ReadingSettings()
    name = "flat"

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.free = threading.Event()  # cleared, the network is busy
        self.free.set()

    def segment(self, images: Sequence[Tensor]) -> list[MaskSet]:
        self.batches.append(len(images))
        assert self.free.wait(60)
        if any(int(image[0, 0, 0]) == 13 for image in images):
            raise TriptychError("not enough memory")
        if any(int(image[0, 0, 0]) == 14 for image in images):
            raise RuntimeError("device-side assert\nand more of it")
        sizes = [(image.shape[0], image.shape[1]) for image in images]
        logits = torch.eye(1, len(CLASSES) + 1) * 9
        return [
            MaskSet(torch.ones(1, 2, 2), logits, CLASSES, Geometry(size, size, size))
            for size in sizes
        ]


class Camera:
    """A live source that shows what it is told to."""

    def __init__(self, size: tuple[int, int] = (4, 6)) -> None:
        self.size = size
        self.told: list[Picture | None] = []
        self.more = threading.Semaphore(0)
        self.source = Source(self._read, name="camera", mode=Mode.LIVE, patience=Patience(wait=9))

    def show(self, value: int | None) -> None:
        """A grey picture; None ends the stream."""
        pixels = None if value is None else np.full((*self.size, 3), value, np.uint8)
        self.told.append(None if pixels is None else Picture(pixels))
        self.more.release()

    def _read(self) -> Iterator[Picture]:
        while True:
            self.more.acquire()
            picture = self.told.pop(0)
            if picture is None:
                raise TriptychError("camera: unplugged")
            yield picture


def test_a_recording_is_counted_to_its_last_frame() -> None:
    pipeline = Pipeline(ExactNetwork())
    pipeline.add("street", recording(), MIDDLE)
    with pipeline:
        eventually(lambda: results(pipeline, "street") == 18, 120)
        result = pipeline.latest("street")
        assert result is not None
        assert result.frame.index == 17
        assert result.counts.lines["middle"].backward == {"car": 1, "person": 1}
        assert result.counts.entered == {"car": 1, "person": 1}
        assert result.timings.keys() == {"decode", "wait", "network", "readings", "track"}
        health = pipeline.health("street")
        assert health.stages.keys() == {*result.timings, "latency"}
        assert health.status.dropped == {}
        assert health.problem == ""
        eventually(lambda: pipeline.health("street").status.phase is Phase.ENDED)
    assert sum(bucket.frames for bucket in pipeline.history("street").whole()) == 18


def test_sources_that_wait_together_go_through_the_network_together() -> None:
    network, cameras = Flat(), [Camera() for _ in range(5)]
    pipeline = Pipeline(network, Settings(batch_size=3))
    for index, camera in enumerate(cameras):
        pipeline.add(str(index), camera.source)
    network.free.clear()
    with pipeline:
        cameras[0].show(1)
        eventually(lambda: network.batches == [1])  # busy now
        for camera in cameras:
            camera.show(2)
        eventually(lambda: all(c.source.status.frames >= 1 for c in cameras[1:]))
        eventually(lambda: cameras[0].source.status.frames == 2)
        network.free.set()
        eventually(lambda: sum(results(pipeline, name) for name in pipeline.names) == 6)
        assert network.batches == [1, 3, 2]
        for camera in cameras:
            camera.show(None)


def test_thresholds_read_the_last_mask_set_again_also_while_paused() -> None:
    network = ExactNetwork()
    pipeline = Pipeline(network)
    pipeline.add("street", recording())
    with pipeline, pipeline.subscribe() as subscription:
        eventually(lambda: results(pipeline, "street") == 5, 60)
        pipeline.pause("street")
        eventually(lambda: pipeline.health("street").status.phase is Phase.PAUSED)
        before = settled(pipeline)
        passes = len(network.batches)
        pipeline.read_with(ReadingSettings(instance_threshold=0.7))
        eventually(lambda: revision(pipeline) == before.revision + 1)
        strict = pipeline.latest("street")
        assert strict is not None
        assert strict.frame is before.frame
        assert strict.masks is before.masks
        assert {i.name for i in before.instances} == {"car", "person"}
        assert {i.name for i in strict.instances} == {"car"}
        eventually(lambda: (r := subscription.get(1.0)) and r.revision == strict.revision)
        pipeline.draw("street", MIDDLE)
        eventually(lambda: revision(pipeline) == before.revision + 2)
        drawn = pipeline.latest("street")
        assert drawn is not None
        assert drawn.counts.lines.keys() == {"middle"}
        assert pipeline.layout("street") == MIDDLE
        assert len(network.batches) == passes
        assert pipeline.readings == ReadingSettings(instance_threshold=0.7)
        pipeline.resume("street")
        eventually(lambda: results(pipeline, "street") == 18, 60)


def revision(pipeline: Pipeline) -> int:
    result = pipeline.latest("street")
    return result.revision if result else 0


def settled(pipeline: Pipeline) -> Result:
    """The newest result once the frame that was under way when it was paused is through."""
    last = -1
    while last != revision(pipeline):
        last = revision(pipeline)
        threading.Event().wait(0.6)
    result = pipeline.latest("street")
    assert result is not None
    return result


def test_one_source_fails_and_the_others_go_on() -> None:
    network, dying, healthy = Flat(), Camera(), Camera(size=(8, 8))
    pipeline = Pipeline(network)
    pipeline.add("dying", dying.source)
    pipeline.add("healthy", healthy.source)
    with pipeline:
        dying.show(1)
        eventually(lambda: results(pipeline, "dying") == 1)
        dying.show(None)
        eventually(lambda: pipeline.health("dying").status.phase is Phase.WAITING)
        assert "unplugged" in pipeline.health("dying").status.message
        for count in range(1, 4):
            healthy.show(count)
            eventually(lambda: results(pipeline, "healthy") == count)  # noqa: B023
        assert pipeline.health("healthy").status.size == (8, 8)
        healthy.show(None)


def test_a_frame_the_network_fails_on_costs_only_itself(
    caplog: pytest.LogCaptureFixture,
) -> None:
    network, poor, well = Flat(), Camera(), Camera()
    pipeline = Pipeline(network)
    pipeline.add("poor", poor.source)
    pipeline.add("well", well.source)
    network.free.clear()
    with pipeline:
        well.show(1)
        eventually(lambda: network.batches == [1])
        poor.show(13)
        well.show(2)
        eventually(lambda: poor.source.status.frames == 1 and well.source.status.frames == 2)
        network.free.set()
        eventually(lambda: results(pipeline, "well") == 2)
        eventually(lambda: pipeline.health("poor").problem == "not enough memory")
        assert network.batches == [1, 2, 1, 1]  # together, then each alone
        assert pipeline.health("poor").status.dropped == {DropReason.UNREAD: 1}
        poor.show(14)
        eventually(lambda: pipeline.health("poor").problem == "device-side assert")
        assert "and more of it" in caplog.text  # a defect is logged with its traceback
        poor.show(1)
        eventually(lambda: pipeline.health("poor").problem == "")
        assert results(pipeline, "poor") == 1
        poor.show(None)
        well.show(None)


def test_subscribers_that_block_or_raise_stop_nothing() -> None:
    blocker, seen = Blocker(), list[Result]()

    def raises(result: Result) -> None:
        raise ValueError("no")

    pipeline = Pipeline(Flat())
    pipeline.add("a", Source(flat_pictures(40), name="a"))
    blocked = pipeline.subscribe(blocker)
    failing = pipeline.subscribe(raises)
    pipeline.subscribe(seen.append, source="a")
    pipeline.start()
    eventually(lambda: results(pipeline, "a") == 40, 60)
    eventually(lambda: seen and seen[-1].revision == 40)
    assert failing.errors >= 1
    assert blocked.skipped >= 30
    assert not pipeline.close(0.5)  # told, not waited for
    blocker.release.set()
    assert pipeline.close()


class Blocker:
    """A subscriber that keeps the first result it gets until it is released."""

    def __init__(self) -> None:
        self.release = threading.Event()

    def __call__(self, result: Result) -> None:
        self.release.wait(60)


def flat_pictures(count: int, size: tuple[int, int] = (4, 6)):
    def pictures() -> Iterator[Picture]:
        for index in range(count):
            yield Picture(np.full((*size, 3), 1, np.uint8), index / 10)

    return pictures


def alive(kind: type) -> int:
    gc.collect()
    return sum(type(thing) is kind for thing in gc.get_objects())


def test_memory_is_bounded_whoever_is_slow() -> None:
    blocker = Blocker()
    pipeline = Pipeline(Flat(), Settings(window=5))
    for name in "ab":
        pipeline.add(name, Source(flat_pictures(150), name=name))
    pipeline.subscribe(blocker)
    lazy = pipeline.subscribe()  # never reads
    frames, held = alive(Frame), alive(Result)  # of other tests
    with pipeline:
        for goal in (50, 150):
            eventually(lambda: min(results(pipeline, n) for n in "ab") >= goal, 120)  # noqa: B023
            # A source has one frame waiting, one in its hands, one at the network; the newest
            # result and two subscribers hold one each, and the blocked one holds one more.
            assert 2 <= alive(Frame) - frames <= 2 * 6 + 1
            assert 2 <= alive(Result) - held <= 2 * 4 + 1
        assert len(pipeline.history("a").rolling()) <= 6
        assert lazy.skipped >= 290
        blocker.release.set()


def test_close_ends_every_thread() -> None:
    before = set(threading.enumerate())
    pipeline = Pipeline(Flat())
    for name in "abc":
        pipeline.add(name, Source(flat_pictures(100_000), name=name))
    pipeline.subscribe(lambda _: None)
    pipeline.start()
    eventually(lambda: min(results(pipeline, name) for name in "abc") > 0)
    assert pipeline.close(30)
    assert set(threading.enumerate()) <= before
    assert pipeline.close()  # again
    with pytest.raises(TriptychError, match="make a new one"):
        pipeline.start()
    with pytest.raises(TriptychError, match="closed"):
        pipeline.add("d", Source(flat_pictures(1), name="d"))
    assert pipeline.subscribe().closed


def test_sources_come_and_go_while_it_runs() -> None:
    with Pipeline(Flat()) as pipeline:
        assert list(pipeline.names) == []
        pipeline.add("a", Source(flat_pictures(100_000), name="a"))
        pipeline.add("b", Source(flat_pictures(5), name="b"))
        eventually(lambda: results(pipeline, "a") > 0 and results(pipeline, "b") == 5)
        with pytest.raises(TriptychError, match="there is a source 'a' already"):
            pipeline.add("a", Source(flat_pictures(1), name="a"))
        pipeline.remove("a")
        assert list(pipeline.names) == ["b"]
        for method in (pipeline.latest, pipeline.remove, pipeline.pause, pipeline.health):
            with pytest.raises(TriptychError, match="no source 'a'; there are: b"):
                method("a")


def test_a_network_of_instances_counts_all_classes() -> None:
    network = Flat()
    assert Pipeline(network).countable == ("car", "person")
    network.readings = ReadingSettings(things_only=False)
    assert Pipeline(network).countable == CLASSES.names


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(TriptychError, match="batch_size is 0"):
        Settings(batch_size=0)
    with pytest.raises(TriptychError, match="window is 0"):
        Settings(window=0)


def test_the_bundled_network_runs_in_it() -> None:
    from triptych.segmenter import load

    pipeline = Pipeline(load("street"))
    pipeline.add("noise", Source(flat_pictures(1, (48, 64)), name="noise"))
    with pipeline:
        eventually(lambda: results(pipeline, "noise") == 1, 120)
        result = pipeline.latest("noise")
        assert result is not None
        assert result.semantic.ids.shape == (48, 64)
        assert pipeline.countable == ("car", "pedestrian", "bicyclist")


def test_a_loop_over_results_ends_with_the_film_and_tells_how() -> None:
    pipeline = Pipeline(ExactNetwork())
    pipeline.add("whole", recording())
    broken = Source(lambda: iter(()), name="broken")
    pipeline.add("broken", broken)
    with pipeline, pipeline.subscribe() as every, pipeline.subscribe(source="whole") as one:
        newest = [result.frame.index for result in one][-1]
        assert newest == 17
        assert {result.source for result in every} == {"whole"}
        assert every.statuses["whole"].phase is Phase.ENDED
        assert every.statuses["broken"].phase is Phase.FAILED
        assert every.statuses["broken"].message == "holds no picture"
        assert one.statuses.keys() == {"whole"}
        with pipeline.subscribe() as late:
            assert list(late) == []
        pipeline.add("more", recording())
        eventually(lambda: not every.over)
        assert {result.source for result in every} == {"more"}


def test_a_callback_hears_of_sources_that_are_added_after_the_end() -> None:
    pipeline = Pipeline(ExactNetwork())
    heard: set[str] = set()
    pipeline.add("first", recording())
    with pipeline:
        pipeline.subscribe(lambda result: heard.add(result.source))
        eventually(lambda: pipeline.health("first").status.over and heard == {"first"}, 60)
        pipeline.add("second", recording())
        eventually(lambda: heard == {"first", "second"}, 60)


def test_a_film_begins_anew_with_its_lines_and_without_its_counts() -> None:
    pipeline = Pipeline(ExactNetwork())
    pipeline.add("film", recording(), MIDDLE)
    pipeline.add("camera", Camera().source)
    with pipeline:
        eventually(lambda: pipeline.health("film").status.over, 60)
        for _ in range(2):
            pipeline.restart("film")
            assert pipeline.latest("film") is None
            eventually(lambda: results(pipeline, "film") == 18, 60)
            latest = pipeline.latest("film")
            assert latest is not None
            assert latest.counts.lines["middle"].backward == {"car": 1, "person": 1}
        assert pipeline.is_film("film")
        assert not pipeline.is_film("camera")
        with pytest.raises(TriptychError, match="camera is live"):
            pipeline.restart("camera")


def test_the_time_of_results_is_that_of_the_film_and_of_its_history() -> None:
    pipeline = Pipeline(ExactNetwork())
    pipeline.add("film", recording())
    times = []
    with pipeline, pipeline.subscribe() as subscription:
        for result in subscription:
            times.append((result.frame.media_time, result.time))
    first = times[0][1] - (times[0][0] or 0.0)
    assert all(time - first == pytest.approx(media) for media, time in times)
    assert pipeline.history("film").whole()[-1].start == times[-1][1] // 1
