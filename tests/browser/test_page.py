"""The page in a real browser, over a stream whose every frame the test pushes."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.dashboard.rig import STREET, Rig, wait_for

from triptych.errors import TriptychError

Open = Callable[..., Any]
KINDS = ("semantic", "instances", "panoptic")


def picture(page: Any, kind: str) -> np.ndarray:
    """What a panel shows: the pixels of its canvas."""
    data = page.evaluate(
        "kind => document.querySelector(`.${kind} canvas`).toDataURL('image/png')", kind
    )
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data.partition(",")[2]))))


def digest(page: Any, kind: str) -> str:
    return hashlib.sha256(picture(page, kind).tobytes()).hexdigest()


def shown(page: Any) -> int:
    """Number of the frame on the page; -1 before the first."""
    return int(
        page.evaluate("import('/static/js/state.js').then(m => m.state.frame?.header.index ?? -1)")
    )


def at(page: Any, kind: str, x: float, y: float) -> tuple[float, float]:
    """A place in a panel, given as shares of the picture, on the screen."""
    box = page.locator(f".{kind} canvas").bounding_box()
    return box["x"] + x * box["width"], box["y"] + y * box["height"]


def ready(rig: Rig, open_page: Open, frames: int = 20, **options: Any) -> Any:
    """A page that shows the last of some frames."""
    rig.run(frames)
    page = open_page(rig.url, **options)
    wait_for(lambda: shown(page) == frames - 1)
    return page


def test_the_three_panels_move_and_differ(rig: Rig, open_page: Open) -> None:
    page = ready(rig, open_page)
    before = [digest(page, kind) for kind in KINDS]
    assert len(set(before)) == 3
    rig.run(5)
    wait_for(lambda: shown(page) == 24)
    after = [digest(page, kind) for kind in KINDS]
    assert all(one != other for one, other in zip(before, after, strict=True))


def test_a_slider_reads_a_paused_frame_again_without_the_network(rig: Rig, open_page: Open) -> None:
    page = ready(rig, open_page)
    page.click("#pause")
    assert page.locator(".instances .badge").inner_text() == "paused on this page"
    rig.run(10)
    assert shown(page) == 19
    passes = len(rig.network.batches)
    before = digest(page, "instances")
    remark = page.locator(".instances .remark")
    assert remark.inner_text() == "3 objects"
    page.locator("#slider-instances").fill("0.9")  # the network is 60% sure of the person
    wait_for(lambda: remark.inner_text() == "2 objects")
    assert digest(page, "instances") != before
    assert shown(page) == 19
    page.locator("#slider-instances").fill("0.5")
    wait_for(lambda: remark.inner_text() == "3 objects")
    assert digest(page, "instances") == before
    assert len(rig.network.batches) == passes
    page.click("#pause")
    wait_for(lambda: shown(page) == 29)


def test_a_drawn_line_counts_exactly_and_is_there_after_a_restart(
    make_rig: Callable[..., Rig], open_page: Open
) -> None:
    rig = make_rig()
    page = ready(rig, open_page, frames=5)
    page.click("#add-line")
    page.mouse.click(*at(page, "semantic", 0.5, 0.05))
    page.mouse.click(*at(page, "semantic", 0.5, 0.95))
    page.locator(".shape").wait_for()
    wait_for(lambda: len(rig.pipeline.layout("street").lines) == 1)
    rig.run(95)  # both cars and the person are through by then
    # Walking down the line from its upper end, the left half lies to the right.
    figures = page.locator(".shape dd")
    expected = ["1 person", "2 car"]
    wait_for(lambda: figures.all_inner_texts() == expected)
    counts = rig.json("GET", "/api/sources/street")["counts"]["lines"]["Line 1"]
    assert counts["forward"] == {"car": 0, "person": 1}
    assert counts["backward"] == {"car": 2, "person": 0}
    page.close()
    rig.stop()

    again = make_rig()
    page = ready(again, open_page, frames=5)
    assert page.locator(".shape input").input_value() == "Line 1"
    page.locator(".shape button").click()
    page.locator("#shapes .nothing").wait_for()
    assert again.pipeline.layout("street").lines == ()


def test_a_zone_is_drawn_with_the_keys_alone(rig: Rig, open_page: Open) -> None:
    page = ready(rig, open_page)
    page.keyboard.press("z")
    for move in ("ArrowRight", "ArrowDown", "ArrowLeft"):
        page.keyboard.press("Enter")
        page.keyboard.press(f"Shift+{move}")
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    page.locator(".shape").wait_for()
    (zone,) = rig.pipeline.layout("street").zones
    assert zone.corners == ((0.5, 0.5), (0.55, 0.5), (0.55, 0.55), (0.5, 0.55))


def test_hovering_tells_and_clicking_follows(rig: Rig, open_page: Open) -> None:
    page = ready(rig, open_page, frames=30)  # at 2.9 s the first car is at (96, 40)
    page.mouse.move(*at(page, "instances", 96 / 240, 40 / 120))
    tip = page.locator(".instances .tip").inner_text()
    assert tip.startswith("car ")
    assert "score 1.00" in tip
    assert "480 px" in tip  # 30 x 16
    page.mouse.move(*at(page, "semantic", 0.5, 0.95))
    assert page.locator(".semantic .tip").inner_text().startswith("ground\n")
    page.mouse.click(*at(page, "panoptic", 96 / 240, 40 / 120))
    row = page.locator("#objects [aria-pressed=true]")
    assert row.locator("span").inner_text() == tip.partition("\n")[0]
    marked = digest(page, "semantic")
    page.keyboard.press("Escape")
    assert row.count() == 0
    assert digest(page, "semantic") != marked


def test_the_legend_filters_and_opacity_needs_no_server(rig: Rig, open_page: Open) -> None:
    page = ready(rig, open_page, frames=30)
    before = digest(page, "instances"), digest(page, "semantic")
    page.get_by_role("checkbox", name="car").uncheck()
    filtered = digest(page, "instances"), digest(page, "semantic")
    assert all(one != other for one, other in zip(before, filtered, strict=True))
    page.get_by_role("checkbox", name="car").check()
    assert (digest(page, "instances"), digest(page, "semantic")) == before
    rig.stop()
    page.locator("#slider-opacity").fill("1")
    assert digest(page, "semantic") != before[1]


def test_the_page_comes_back_after_the_server_restarts(
    make_rig: Callable[..., Rig], open_page: Open
) -> None:
    rig = make_rig()
    page = ready(rig, open_page)
    port = rig.port
    rig.stop()
    page.locator("#notice.bad").wait_for()
    assert "trying again" in page.locator("#notice").inner_text()
    again = make_rig(port=port)
    again.run(7)
    wait_for(lambda: shown(page) == 6)
    page.locator("#notice").wait_for(state="hidden")


def test_a_film_stands_still_goes_on_and_begins_anew(rig: Rig, open_page: Open) -> None:
    page = ready(rig, open_page)
    page.wait_for_selector("#film:not([hidden])")
    page.click("#film")
    page.wait_for_selector("#film[aria-pressed=true]")
    assert page.locator("#film span").inner_text() == "Start film"
    wait_for(lambda: page.locator(".instances .badge").inner_text() == "paused")
    rig.feed.push(STREET, 5)
    page.wait_for_timeout(1500)
    assert shown(page) == 19
    page.keyboard.press("p")
    wait_for(lambda: shown(page) == 24)
    page.click("#restart")
    wait_for(lambda: rig.results == 0)
    rig.feed.push(STREET, 4)
    wait_for(lambda: 2 <= shown(page) <= 3)  # the reader that was left may take one


def test_a_source_that_dies_is_told(rig: Rig, open_page: Open) -> None:
    page = ready(rig, open_page)
    rig.feed.fail(TriptychError("the camera caught fire"))
    page.locator(".instances .badge", has_text="ended").wait_for()
    page.locator("#notice", has_text="the camera caught fire").wait_for()
    assert page.locator("#notice").get_attribute("role") == "alert"


def test_without_a_websocket_there_are_plain_pictures(rig: Rig, open_page: Open) -> None:
    page = open_page("about:blank")
    page.add_init_script("""
        window.WebSocket = class extends EventTarget {
            static OPEN = 1;
            readyState = 3;
            constructor() {
                super();
                setTimeout(() => this.dispatchEvent(new CloseEvent("close", { code: 1006 })));
            }
            close() {}
        };
    """)
    rig.run(20)
    page.goto(rig.url)
    film = page.locator(".panoptic img")
    film.wait_for()
    wait_for(lambda: film.evaluate("img => img.naturalWidth") == STREET.size[1])
    assert page.locator("#link").inner_text() == "pictures only"
    assert not page.locator("#pause").is_visible()
    page.locator("#classes td", has_text="car").wait_for()
    rig.json("PUT", "/api/regroup", {"groups": {"mover": ["car", "person"]}})
    page.locator("#classes td", has_text="mover").wait_for()


def test_a_snapshot_holds_three_panels(rig: Rig, open_page: Open, tmp_path: Path) -> None:
    page = ready(rig, open_page)
    with page.expect_download() as waiting:
        page.click("#snapshot")
    found = waiting.value
    assert found.suggested_filename.startswith("street-")
    found.save_as(tmp_path / "snapshot.png")
    with Image.open(tmp_path / "snapshot.png") as sheet:
        sheet_width = sheet.width
    width = page.locator(".semantic canvas").evaluate("canvas => canvas.width")
    assert sheet_width == 3 * width + 4 * 8


@pytest.mark.parametrize("scheme", ["dark", "light"])
@pytest.mark.parametrize("size", [(1440, 900), (390, 844)], ids=["desktop", "phone"])
def test_the_page_fits_the_screen(
    rig: Rig, open_page: Open, size: tuple[int, int], scheme: str
) -> None:
    page = ready(rig, open_page, size=size, scheme=scheme)
    boxes = [page.locator(f".panel.{kind}").bounding_box() for kind in KINDS]
    if size[0] > 800:
        assert boxes[0]["x"] < boxes[1]["x"] < boxes[2]["x"]
        assert boxes[0]["y"] == boxes[1]["y"] == boxes[2]["y"]
    else:
        assert boxes[0]["y"] < boxes[1]["y"] < boxes[2]["y"]
    assert page.evaluate("document.documentElement.scrollWidth") == size[0]
    shot = np.asarray(Image.open(io.BytesIO(page.screenshot())).convert("L"), dtype=float)
    assert (shot.mean() < 90) == (scheme == "dark")


def test_sources_are_added_and_removed_with_the_keys_alone(
    make_rig: Callable[..., Rig], open_page: Open
) -> None:
    rig = make_rig(allow_sources="any")
    page = ready(rig, open_page)
    page.keyboard.press("a")
    page.locator("#sources-dialog").wait_for()
    page.keyboard.type("ftp://127.0.0.1/clip")
    page.keyboard.press("Enter")
    error = page.locator("#source-error")
    error.wait_for()
    assert "ftp addresses are not read" in error.inner_text()
    assert error.get_attribute("role") == "alert"
    page.keyboard.press("Control+a")
    page.keyboard.type("http://127.0.0.1:1/cam")
    assert not error.is_visible()
    page.keyboard.press("Tab")
    page.keyboard.type("back yard")
    page.keyboard.press("Enter")
    page.locator("#sources [aria-current=true]", has_text="back yard").wait_for()
    assert rig.pipeline.names == ("street", "back yard")
    assert not page.locator("#sources-dialog").is_visible()

    page.keyboard.press("a")
    remove = page.get_by_role("button", name="Remove back yard")
    remove.focus()
    page.keyboard.press("Enter")
    assert remove.inner_text() == "with its counts?"
    assert rig.pipeline.names == ("street", "back yard")
    page.keyboard.press("Enter")
    remove.wait_for(state="detached")
    assert list(rig.pipeline.names) == ["street"]
    page.keyboard.press("Escape")
    page.locator("#sources [aria-current=true]", has_text="street").wait_for()


def test_where_sources_may_not_be_added_there_is_no_control(rig: Rig, open_page: Open) -> None:
    page = ready(rig, open_page)
    assert not page.locator("#sources-open").is_visible()
    page.keyboard.press("a")
    assert not page.locator("#sources-dialog").is_visible()


def test_classes_are_grouped_with_the_keys_alone(rig: Rig, open_page: Open) -> None:
    page = ready(rig, open_page)
    keys = page.keyboard
    keys.press("g")
    page.locator("#group-of-0:focus").wait_for()
    given = [page.locator(f"#group-of-{n}").input_value() for n in range(4)]
    assert given == ["ground", "wall", "car", "person"]
    for text in ("", "", "mover", "mover"):
        keys.press("Control+a")
        keys.press("Delete")
        keys.type(text)
        keys.press("Tab")
    assert page.locator("#group-names option").count() == 1
    page.locator("#group-of-3").press("Enter")
    page.locator("#groups-dialog").wait_for(state="hidden")
    wait_for(lambda: page.locator("#classes label").all_inner_texts() == ["mover"])
    frame = "import('/static/js/state.js').then(m => m.state.frame.header.classes.map(c => c.name))"
    wait_for(lambda: page.evaluate(frame) == ["mover"])
    rig.run(5)
    wait_for(lambda: shown(page) == 24)
    wait_for(lambda: "mover" in page.locator("#objects").inner_text())
    # A mistake is told where it was made, and changes nothing.
    keys.press("g")
    page.locator("#group-of-0:focus").wait_for()
    assert page.locator("#group-of-0").input_value() == ""
    keys.type("mover")
    keys.press("Enter")
    page.locator("#groups-error:not([hidden])").wait_for()
    assert "mixes things" in page.locator("#groups-error").inner_text()
    page.locator("#groups-each").click()
    assert page.locator("#groups-error").is_hidden()
    page.locator("#groups-save").click()
    wait_for(lambda: page.locator("#classes label").count() == 4)
    assert rig.json("GET", "/api/regroup")["groups"] == {}
