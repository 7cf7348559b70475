"""Groups of classes, changed on a running page: API, frames, paused pages, pictures."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from tests.dashboard.rig import Rig, wait_for
from tests.stream.rendered import CLASSES, ExactNetwork
from websockets.sync.client import ClientConnection, connect

from triptych.class_table import ClassTable, Merged
from triptych.classes import Classes
from triptych.dashboard.held import read_again
from triptych.dashboard.layers import lay_out
from triptych.dashboard.picture import panel
from triptych.dashboard.store import Store
from triptych.image.geometry import Geometry
from triptych.mask_set import MaskSet
from triptych.readings.settings import ReadingSettings
from triptych.stream.frames import Frame
from triptych.stream.naming import Naming
from triptych.stream.scene import SourceScene

API = "/api/regroup"
MOVERS = {"mover": ["car", "person"], "ground": ["ground"]}
OWN = [
    {"name": name, "thing": thing, "colour": "#{:02x}{:02x}{:02x}".format(*colour)}
    for name, thing, colour in zip(CLASSES.names, CLASSES.is_thing, CLASSES.colours, strict=True)
]


def names(rig: Rig) -> list[str]:
    return [entry["name"] for entry in rig.json("GET", "/api/model")["classes"]]


def now(rig: Rig) -> set[str]:
    return set(rig.json("GET", "/api/sources/street")["counts"]["now"])


def test_groups_are_changed_and_taken_away(rig: Rig) -> None:
    assert rig.json("GET", API) == {"groups": {}, "network_classes": OWN}
    rig.run(20)
    passes = len(rig.network.batches)
    body = {"groups": {"mover": ["car", "person"], "ground": []}}
    answer = rig.json("PUT", API, body)
    assert answer == {"groups": MOVERS, "network_classes": OWN}
    assert rig.json("GET", API) == answer
    wait_for(lambda: now(rig) == {"mover"})
    assert len(rig.network.batches) == passes, "the newest frame is read again"
    assert names(rig) == ["mover", "ground"]
    former = rig.json("GET", "/api/model")["former_classes"]
    assert [entry["name"] for entry in former] == ["wall", "car", "person"]
    assert Store(rig.desk.options.state).table == ClassTable.of(body["groups"])

    rig.run(2)
    columns = rig.json("GET", "/api/sources/street/history")["columns"]
    assert {"count.car", "count.person", "count.mover"} <= columns.keys(), "history keeps the old"
    assert (
        'triptych_objects{class="mover",source="street"}' in rig.ask("GET", "/metrics")[2].decode()
    )

    assert rig.json("DELETE", API)["groups"] == {}
    wait_for(lambda: now(rig) == {"car", "person"})
    assert Store(rig.desk.options.state).table is None
    assert rig.json("GET", "/api/status")["groups_revision"] == 2


def test_a_line_goes_on_counting(rig: Rig) -> None:
    line = {"name": "gate", "a": [0.5, 0.05], "b": [0.5, 0.95]}
    rig.json("PUT", "/api/sources/street/layout", {"lines": [line]})

    def crossed() -> dict[str, int]:
        counts = rig.json("GET", "/api/sources/street")["counts"]["lines"]["gate"]
        return {way: sum(by_class.values()) for way, by_class in counts.items()}

    rig.run(45)
    before = crossed()
    assert 0 < sum(before.values()) < 3
    rig.json("PUT", API, {"groups": {"mover": ["car", "person"]}})
    wait_for(lambda: now(rig) == {"mover"})
    assert crossed() == before
    rig.run(55)
    assert sum(crossed().values()) == 3


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, "groups"),
        ({"groups": {}}, "groups is {}"),
        ({"groups": {"a": ["car", "wall"]}}, "'a' mixes things (car) and stuff (wall)"),
        ({"groups": {"a": ["car"], "b": ["car"]}}, "'car' is taken twice"),
        ({"groups": {"a": ["cart"]}}, "no class 'cart' (did you mean 'car'?)"),
        ({"groups": {"a": [3]}}, 'groups is {"a": [3]}; give text'),
        ({"groups": {" ": ["car"]}}, 'groups is {" ": ["car"]}; give text'),
        ({"groups": {"": ["car"]}}, "as a key"),
        ({"groups": {"a": ["car"]}, "x": 1}, "nothing here is called 'x'"),
        (b'{"groups": {"a": ["car"], "a": ["person"]}}', "the key 'a' stands twice"),
    ],
)
def test_mistakes_change_nothing(rig: Rig, body: object, words: str) -> None:
    headers = {"content-type": "application/json"}
    status, _, found = rig.ask("PUT", API, body, headers)
    assert status == 422
    told = json.loads(found)["error"]
    assert words in told
    assert "\n" not in told
    assert names(rig) == list(CLASSES.names)
    assert not rig.desk.options.state.exists()


class Looker:
    """A page that reads everything."""

    def __init__(self, rig: Rig) -> None:
        self.socket: ClientConnection = connect(
            f"ws://127.0.0.1:{rig.port}/ws", max_size=None, proxy=None
        )
        self.seen = 0

    def watch(self, held: bool = False) -> None:
        self.socket.send(json.dumps({"watch": "street", "held": held}))

    def next(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The next message, or header of a frame, that is wanted."""
        while True:
            data = self.socket.recv(timeout=20)
            if isinstance(data, bytes):
                self.seen += 1
                self.socket.send(json.dumps({"seen": self.seen}))
                (length,) = struct.unpack("<I", data[4:8])
                message = {"type": "frame", **json.loads(data[8 : 8 + length])}
            else:
                message = json.loads(data)
            if wanted(message):
                return message


def is_frame(message: dict[str, Any]) -> bool:
    return message["type"] == "frame"


def has(message: dict[str, Any], *classes: str) -> bool:
    return [entry["name"] for entry in message["classes"]] == list(classes)


def test_each_frame_says_its_classes_and_pages_are_greeted_again(rig: Rig) -> None:
    rig.run(10)
    page = Looker(rig)
    with page.socket:
        assert has(page.next(lambda m: m["type"] == "hello"), *CLASSES.names)
        page.watch()
        first = page.next(is_frame)
        assert has(first, *CLASSES.names)
        assert len(first["areas"]) == 4
        rig.json("PUT", API, {"groups": MOVERS})
        assert has(page.next(lambda m: m["type"] == "hello"), "mover", "ground")
        after = page.next(lambda m: is_frame(m) and m["revision"] > first["revision"])
        assert has(after, "mover", "ground")
        assert {thing["class"] for thing in after["things"]} == {0}
        assert len(after["areas"]) == 2


def test_a_paused_page_has_the_frame_under_the_new_names(rig: Rig) -> None:
    rig.run(10)
    page = Looker(rig)
    with page.socket:
        page.watch(held=True)
        first = page.next(is_frame)
        rig.run(3)
        rig.json("PUT", API, {"groups": MOVERS})
        after = page.next(lambda m: is_frame(m) and has(m, "mover", "ground"))
        assert after["index"] == first["index"] == 9
        assert [t["track"] for t in after["things"]] != []
        known = {tuple(t["box"]): t["track"] for t in first["things"]}
        assert {tuple(t["box"]): t["track"] for t in after["things"]} == known


def labeller(classes: Classes) -> tuple[Frame, MaskSet]:
    """Three stripes, one of each class."""
    masks = torch.full((3, 6, 9), -9.0)
    for number in range(3):
        masks[number, :, 3 * number : 3 * number + 3] = 9.0
    size = (6, 9)
    found = MaskSet(masks, None, classes, Geometry(size, size, size), competition="softmax")
    return Frame(np.full((6, 9, 3), 100, np.uint8), 0, 1000.0, 0.0), found


def test_void_of_a_pixel_labeller_is_painted_plainly() -> None:
    classes = Classes.of(["way", "car", "sky"], ["car"])
    frame, found = labeller(classes)
    table = Naming.of(classes, True, ClassTable.of({"way": ["way"], "vehicle": ["car"]}))
    result = SourceScene("s", table.countable).observe(frame, found, ReadingSettings(), {}, table)
    layers = lay_out(result)
    assert layers.semantic[0].tolist() == [0] * 3 + [1] * 3 + [2] * 3, "2 is no class"
    assert layers.areas == (18, 18)
    assert not layers.panoptic[:, 6:].any()
    picture = np.asarray(panel(result, layers, "semantic"))
    assert (picture[:, 6:] == 100).all()
    assert (picture[:, :6] != 100).any(2).all()
    assert sum(result.counts.share.values()) == pytest.approx(2 / 3)


def test_a_held_frame_is_read_from_what_the_network_gave() -> None:
    network = ExactNetwork()
    own = Naming.of(CLASSES, True)
    movers = Naming.of(CLASSES, True, ClassTable.of(MOVERS))
    pixels = np.zeros((40, 40, 3), np.uint8)
    pixels[10:20, 10:20, 0], pixels[10:20, 10:20, 1] = 1, CLASSES.index("car")
    found = network.segment([torch.from_numpy(pixels)])[0]
    scene = SourceScene("s", own.countable)
    result = scene.observe(Frame(pixels, 0, 1000.0, 0.0), found, ReadingSettings(), {}, own)
    assert read_again(result, ReadingSettings(), own) is result
    there = read_again(result, ReadingSettings(), movers)
    assert [i.name for i in there.instances] == ["mover"]
    assert there.semantic.classes == there.panoptic.classes == movers.classes
    assert [t.instance for t in there.tracks] == [0]
    back = read_again(there, ReadingSettings(), own)
    assert [i.name for i in back.instances] == ["car"]
    assert torch.equal(back.semantic.ids, result.semantic.ids)


def test_a_naming_without_a_table_changes_nothing() -> None:
    classes = Classes.of(["way", "car", "sky"], ["car"])
    _, found = labeller(classes)
    plain = Naming.of(classes, True)
    assert plain.apply(found) is found
    assert plain.merged == Merged.unchanged(classes)
