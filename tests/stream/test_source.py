from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from tests.stream.waiting import eventually

from triptych.errors import TriptychError
from triptych.stream.frames import DropReason, Phase
from triptych.stream.reader import Mode, Patience, Picture
from triptych.stream.source import Source

QUICK = Patience(stall=0.1, damage=0.05, wait=0.01, longest_wait=0.04)


def picture(value: int = 0, media_time: float | None = None, size: tuple[int, int] = (4, 6)):
    return Picture(np.full((*size, 3), value, np.uint8), media_time)


def live(*pictures: Picture, then: Callable[[], object] = lambda: None) -> Iterator[Picture]:
    yield from pictures
    then()


def value(frame) -> int:
    return int(frame.pixels[0, 0, 0])


class Camera:
    """Gives the pictures it is told to, one after the other, for as long as it is open."""

    def __init__(self) -> None:
        self.told: list[Picture] = []
        self.more = threading.Semaphore(0)
        self.done = threading.Event()
        self.closed = False

    def show(self, *pictures: Picture) -> None:
        self.told += pictures
        for _ in pictures:
            self.more.release()

    def end(self) -> None:
        self.done.set()
        self.more.release()

    def __call__(self) -> Iterator[Picture]:
        try:
            while True:
                self.more.acquire()
                if self.done.is_set():
                    return
                yield self.told.pop(0)
        finally:
            self.closed = True


def test_a_recording_is_read_to_its_last_frame() -> None:
    source = Source(lambda: live(*(picture(i, i / 10) for i in range(50))), name="file")
    frames = list(source)
    assert [value(frame) for frame in frames] == list(range(50))
    assert [frame.index for frame in frames] == list(range(50))
    assert [frame.media_time for frame in frames] == [i / 10 for i in range(50)]
    status = source.status
    assert (status.phase, status.message, status.dropped) == (Phase.ENDED, "", {})
    assert (status.frames, status.connections, status.size) == (50, 1, (4, 6))


def test_a_lossless_source_makes_one_frame_ahead_and_no_more() -> None:
    made: list[int] = []

    def pictures() -> Iterator[Picture]:
        for i in range(100):
            made.append(i)
            yield picture(i, i / 10)

    with Source(pictures, name="file") as source:
        eventually(lambda: len(made) == 2)
        time.sleep(0.05)
        assert len(made) == 2  # one waits, one is held back
        assert source.take() is not None
        eventually(lambda: len(made) == 3)


def test_a_live_source_keeps_the_newest_frame_and_counts_the_others() -> None:
    camera = Camera()
    with Source(camera, name="camera", mode=Mode.LIVE, patience=QUICK) as source:
        camera.show(*(picture(i) for i in range(10)))
        eventually(lambda: source.status.frames == 10)
        frame = source.take()
        assert frame is not None
        assert value(frame) == 9
        assert frame.media_time is None
        assert source.take() is None
        assert source.status.dropped == {DropReason.BUSY: 9}
        camera.end()


def test_a_recording_in_real_time_keeps_its_pace() -> None:
    times = [0.0, 0.05, 0.1, 0.3]
    source = Source(
        lambda: live(*(picture(i, t) for i, t in enumerate(times))),
        name="file",
        mode=Mode.REALTIME,
    )
    began = time.monotonic()
    frames = list(source)
    assert time.monotonic() - began >= 0.3
    for frame, due in zip(frames, [times[value(f)] for f in frames], strict=True):
        assert frame.time - began >= due - 0.01
    assert source.status.frames == 4


def test_a_recording_with_few_frames_is_not_stalled() -> None:
    pictures = [picture(0, 0.0), picture(1, 0.4)]
    source = Source(
        lambda: live(*pictures), name="file", mode=Mode.REALTIME, patience=Patience(stall=0.05)
    )
    with source:
        eventually(lambda: source.status.frames == 1)
        phases = set()
        while source.status.frames == 1:
            phases.add(source.status.phase)
            time.sleep(0.02)
    assert phases <= {Phase.RUNNING, Phase.ENDED}


def test_a_leap_in_the_clock_of_a_recording_is_not_waited_for() -> None:
    pictures = [picture(0, 0.0), picture(1, 3600.0), picture(2, 3600.02)]
    source = Source(lambda: live(*pictures), name="file", mode=Mode.REALTIME)
    began = time.monotonic()
    list(source)
    assert time.monotonic() - began < 20
    assert source.status.frames == 3


def test_damaged_pictures_are_counted_and_the_others_come() -> None:
    pictures = [picture(1, 0.0), Picture(None, 0.1), Picture(None, 0.2), picture(4, 0.3)]
    source = Source(lambda: live(*pictures), name="file")
    frames = list(source)
    assert [(value(frame), frame.index) for frame in frames] == [(1, 0), (4, 3)]
    assert source.status.dropped == {DropReason.BROKEN: 2}
    assert source.status.phase is Phase.ENDED


def test_a_change_of_size_goes_through() -> None:
    pictures = [picture(0, 0.0), picture(1, 0.1, size=(8, 4))]
    source = Source(lambda: live(*pictures), name="file")
    assert [frame.size for frame in source] == [(4, 6), (8, 4)]
    assert source.status.size == (8, 4)


def test_a_recording_that_cannot_be_opened_has_failed() -> None:
    def opener() -> Iterator[Picture]:
        raise TriptychError("x.mp4: is no video")

    source = Source(opener, name="x.mp4")
    assert list(source) == []
    assert source.status.phase is Phase.FAILED
    assert source.status.message == "x.mp4: is no video"


def test_an_empty_recording_says_so() -> None:
    source = Source(lambda: live(), name="empty")
    assert list(source) == []
    assert (source.status.phase, source.status.message) == (Phase.FAILED, "holds no picture")


def test_a_recording_that_breaks_off_keeps_what_was_read() -> None:
    def breaks() -> None:
        raise TriptychError("x.mp4: cannot be read")

    source = Source(lambda: live(picture(7, 0.0), then=breaks), name="x.mp4")
    assert [value(frame) for frame in source] == [7]
    assert source.status.phase is Phase.ENDED
    assert source.status.message == "x.mp4: cannot be read"


def test_a_lost_camera_is_connected_again_with_growing_waits() -> None:
    attempts: list[float] = []
    camera = Camera()

    def opener() -> Iterator[Picture]:
        attempts.append(time.monotonic())
        if len(attempts) <= 5:
            raise TriptychError("rtsp://camera: refused")
        return camera()

    patience = Patience(wait=0.02, longest_wait=0.08)
    with Source(opener, name="camera", mode=Mode.LIVE, patience=patience) as source:
        eventually(lambda: len(attempts) == 6)
        waits = np.diff(attempts)
        assert (waits >= [0.02, 0.04, 0.08, 0.08, 0.08]).all()
        assert source.status.message.startswith("rtsp://camera: refused; next try in 0.08 s")
        camera.show(picture(5))
        eventually(lambda: source.status.phase is Phase.RUNNING)
        assert source.status.message == ""
        camera.end()
        eventually(lambda: source.status.connections == 1 and len(attempts) == 7)
    assert camera.closed


def test_a_camera_that_breaks_at_once_each_time_is_not_hammered() -> None:
    attempts: list[float] = []

    def opener() -> Iterator[Picture]:
        attempts.append(time.monotonic())
        return live(picture())

    patience = Patience(wait=0.02, longest_wait=0.16)
    with Source(opener, name="camera", mode=Mode.LIVE, patience=patience):
        eventually(lambda: len(attempts) == 5)
    assert (np.diff(attempts) >= [0.02, 0.04, 0.08, 0.16]).all()


def test_a_camera_that_falls_silent_is_stalled_until_it_speaks() -> None:
    camera = Camera()
    with Source(camera, name="camera", mode=Mode.LIVE, patience=QUICK) as source:
        assert source.status.phase is Phase.CONNECTING
        camera.show(picture())
        eventually(lambda: source.status.phase is Phase.STALLED)
        assert source.status.message.startswith("no picture for")
        camera.show(picture())
        eventually(lambda: source.status.frames == 2)
        assert source.status.phase in (Phase.RUNNING, Phase.STALLED)
        camera.end()


def test_nothing_but_damaged_pictures_is_a_reason_to_connect_again() -> None:
    attempts = []

    def opener() -> Iterator[Picture]:
        attempts.append(1)
        yield picture()
        while True:
            time.sleep(0.005)
            yield Picture(None)

    with Source(opener, name="camera", mode=Mode.LIVE, patience=QUICK) as source:
        eventually(lambda: len(attempts) == 3)
        assert source.status.dropped[DropReason.BROKEN] > 2


def test_a_defect_in_a_reader_is_told_and_the_thread_lives(
    caplog: pytest.LogCaptureFixture,
) -> None:
    camera = Camera()
    attempts = []

    def opener() -> Iterator[Picture]:
        attempts.append(1)
        if len(attempts) == 1:
            raise ZeroDivisionError("of all things")
        return camera()

    with Source(opener, name="camera", mode=Mode.LIVE, patience=QUICK) as source:
        camera.show(picture())
        eventually(lambda: source.status.phase in (Phase.RUNNING, Phase.STALLED))
        camera.end()
    assert "of all things" in caplog.text


def test_a_loop_goes_on_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    source = Source(lambda: live(*(picture(i, i / 10) for i in range(3))), name="clip", loop=True)
    frames, phases = [], []
    enter = source._enter

    def note(phase: Phase, message: str = "") -> None:
        phases.append(phase)
        enter(phase, message)

    monkeypatch.setattr(source, "_enter", note)
    for frame in source:
        frames.append(frame)
        if len(frames) == 8:
            source.close()
    assert [value(frame) for frame in frames] == [0, 1, 2, 0, 1, 2, 0, 1]
    # Another round is no news.
    assert phases.count(Phase.CONNECTING) == 1
    assert source.status.connections == 3
    times = [frame.moment for frame in frames]
    assert times == sorted(times)
    assert times[6] == pytest.approx(0.4)
    assert [frame.anew for frame in frames] == [False] * 3 + [True, False, False] + [True, False]


def test_a_film_that_begins_again_unseen_tells_with_the_next_frame() -> None:
    reader = lambda: live(*(picture(i, i / 100) for i in range(3)))  # noqa: E731
    source = Source(reader, name="clip", mode=Mode.REALTIME, loop=True)
    with source:
        eventually(lambda: source.status.frames >= 8)
        frame = source.take()
    assert frame is not None
    assert frame.anew


def test_a_paused_recording_stands_still() -> None:
    source = Source(lambda: live(*(picture(i, i / 10) for i in range(5))), name="file")
    with source:
        eventually(lambda: source.status.frames == 1)
        first = source.take()
        assert first is not None
        assert value(first) == 0
        source.pause()
        assert source.status.phase is Phase.PAUSED
        assert source.take() is None
        source.resume()
        assert [value(frame) for frame in source] == list(range(1, 5))
    assert source.status.dropped == {}


@pytest.mark.parametrize("mode", [Mode.LOSSLESS, Mode.REALTIME])
def test_a_recording_that_is_paused_before_it_begins_shows_its_first_frame(mode: Mode) -> None:
    reader = lambda: live(*(picture(i, i / 10) for i in range(5)))  # noqa: E731
    source = Source(reader, name="file", mode=mode)
    source.pause()
    with source:
        eventually(lambda: source.status.waiting)
        time.sleep(0.3)
        assert source.status.frames == 1
        first = source.take()
        assert first is not None
        assert value(first) == 0
        assert source.take() is None
        source.resume()
        assert [value(frame) for frame in source] == list(range(1, 5))
        again = source.anew()
    with again:
        assert [value(frame) for frame in again][-1] == 4


def test_a_paused_camera_goes_on_unseen() -> None:
    camera = Camera()
    with Source(camera, name="camera", mode=Mode.LIVE) as source:
        camera.show(picture(0))
        eventually(lambda: source.status.frames == 1)
        source.pause()
        camera.show(picture(1), picture(2))
        eventually(lambda: source.status.frames == 3)
        assert source.take() is None
        source.resume()
        camera.show(picture(3))
        eventually(lambda: source.status.frames == 4)
        frame = source.take()
        assert frame is not None
        assert value(frame) == 3
        assert source.status.dropped == {DropReason.PAUSED: 3}
        camera.end()


def test_close_ends_the_thread_whatever_it_waits_for() -> None:
    before = threading.active_count()

    def refused() -> Iterator[Picture]:
        raise TriptychError("refused")

    sources = [
        Source(lambda: live(*(picture(i, i) for i in range(9))), name="full"),
        Source(lambda: live(picture(0, 0), picture(1, 3)), name="due", mode=Mode.REALTIME),
        Source(refused, name="away", mode=Mode.LIVE, patience=Patience(wait=60)),
    ]
    for source in sources:
        source.start()
    eventually(lambda: sources[2].status.phase is Phase.WAITING)
    began = time.monotonic()
    assert all(source.close(10.0) for source in sources)
    assert time.monotonic() - began < 10
    assert threading.active_count() == before
    assert {source.status.phase for source in sources} == {Phase.CLOSED}
    with pytest.raises(TriptychError, match="started before"):
        sources[0].start()


def test_close_tells_of_a_thread_that_cannot_be_woken(caplog: pytest.LogCaptureFixture) -> None:
    camera = Camera()
    source = Source(camera, name="camera", mode=Mode.LIVE)
    source.start()
    assert not source.close(0.01)
    assert "still waits" in caplog.text
    assert source.status.phase is Phase.CLOSED
    camera.end()
    assert source.close()
