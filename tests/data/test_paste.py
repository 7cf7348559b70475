from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from tests.data.street import BICYCLIST, CAR, HEIGHT, HORIZON_ROW, PAVEMENT, PEDESTRIAN, ROAD, WIDTH

from triptych.data.camvid import CamVidScenes
from triptych.data.cutouts import CocoCutouts, Cutout
from triptych.data.paste import (
    HORIZON_ABOVE_ROAD,
    MIN_PASTED_HEIGHT,
    SLOPE,
    Draw,
    Placement,
    compose,
    horizon,
    match_light,
    paste_near,
    plan,
)
from triptych.data.scene import MIN_SHARE, MIN_VISIBLE, Scene


def block(class_id: int = CAR, size: tuple[int, int] = (40, 30), **more) -> Cutout:
    given = {"tallness": 1.0, "cut": frozenset(), **more}
    return Cutout(Image.new("RGBA", size, (200, 40, 40, 255)), class_id, **given)


def drawing(cutout: Cutout) -> Draw:
    return lambda class_id, random: cutout


def empty(owners: tuple[int, ...] = ()) -> Scene:
    regions = np.full((HEIGHT, WIDTH), ROAD, np.uint8)
    regions[:HORIZON_ROW] = 0
    return Scene(np.full((HEIGHT, WIDTH, 3), 100, np.uint8), regions, owners, 11)


def fixed(monkeypatch: pytest.MonkeyPatch, *placements: Placement) -> None:
    monkeypatch.setattr("triptych.data.paste.plan", lambda *given: list(placements))


def at(left: int, bottom: int, size: tuple[int, int] = (40, 30), **more) -> Placement:
    return Placement(block(**more), left, bottom, size, False)


def composed(scene: Scene) -> Scene:
    return compose(scene, drawing(block()), 1, np.random.default_rng(0))


def test_an_object_takes_its_pixels(monkeypatch):
    fixed(monkeypatch, at(20, 130))
    before = empty()
    after = composed(before)
    assert after.owners == (CAR,)
    assert (after.regions[100:130, 20:60] == 11).all()
    assert after.visible()[11] == 30 * 40
    assert after.pixels[110, 40].tolist() != [100, 100, 100]
    untouched = np.ones((HEIGHT, WIDTH), bool)
    untouched[100:130, 20:60] = False
    np.testing.assert_array_equal(after.pixels[untouched], before.pixels[untouched])
    assert (before.regions[100:130, 20:60] == ROAD).all()  # the source stays as it was


def test_nearer_objects_hide_farther_ones_in_whatever_order(monkeypatch):
    far, near = at(20, 130), at(40, 150)
    for order in ([far, near], [near, far]):
        fixed(monkeypatch, *order)
        after = composed(empty())
        assert after.visible()[11] == 1200 - 20 * 10
        assert after.visible()[12] == 1200  # the near one is pasted last
        assert (after.regions[120:130, 40:60] == 12).all()


def test_single_objects_of_the_frame_hide_what_is_behind_them(monkeypatch):
    scene = empty(owners=(CAR,))
    scene.regions[110:160, 30:50] = 11
    fixed(monkeypatch, at(20, 130))
    after = composed(scene)
    assert (after.regions[110:160, 30:50] == 11).all()
    assert after.visible()[12] == 1200 - 20 * 20
    fixed(monkeypatch, at(20, 170))
    after = composed(scene)
    assert (after.regions[140:170, 20:60] == 12).all()


@pytest.mark.parametrize(("hidden_rows", "kept"), [(24, True), (28, False)])
def test_objects_of_which_little_is_seen_become_ambiguous(monkeypatch, hidden_rows, kept):
    # 30 rows of 40 pixels: 6 of them are a fifth of the object, 2 less than the least share.
    fixed(monkeypatch, at(20, 130), at(20, 130 + 30 - hidden_rows))
    after = composed(empty())
    assert 2 / 30 < MIN_SHARE < 6 / 30
    assert MIN_VISIBLE < 2 * 40
    rest = after.regions[100 : 130 - hidden_rows, 20:60]
    assert (rest == (11 if kept else CAR)).all()


def test_frame_objects_lose_their_instance_when_covered(monkeypatch):
    scene = empty(owners=(PEDESTRIAN,))
    scene.regions[86:120, 30:38] = 11  # a seventh of it will be seen
    fixed(monkeypatch, at(20, 121))
    after = composed(scene)
    assert (after.regions[86:91, 30:38] == PEDESTRIAN).all()
    assert after.visible()[11] == 0


def test_parts_beyond_the_border_are_cut_off(monkeypatch):
    fixed(monkeypatch, at(-25, 130), at(WIDTH - 10, 130), at(WIDTH + 5, 130), at(50, 15))
    after = composed(empty())
    # By bottom row: the one above comes first; the one wholly outside has no pixel.
    areas = [int(after.visible()[code]) for code in (11, 12, 13, 14)]
    assert areas == [15 * 40, 30 * 15, 30 * 10, 0]


def test_region_codes_run_out_gracefully(monkeypatch):
    fixed(monkeypatch, *[at(20, 100 + i % 60, size=(3, 3)) for i in range(300)])
    after = composed(empty())
    assert len(after.owners) == 255 - 11
    np.testing.assert_array_equal(np.unique(after.semantic()), [0, ROAD, CAR])


def test_soft_edges_blend(monkeypatch):
    picture = Image.new("RGBA", (40, 30), (200, 40, 40, 255))
    picture.putalpha(Image.fromarray(np.full((30, 40), 102, np.uint8)))
    cutout = Cutout(picture, CAR, 1.0, frozenset())
    fixed(monkeypatch, Placement(cutout, 20, 130, (40, 30), False))
    after = composed(empty())
    assert after.visible()[11] == 0  # less than half of each pixel
    assert after.pixels[110, 40].tolist() != [100, 100, 100]


def test_mirroring(monkeypatch):
    picture = Image.new("RGBA", (40, 30), (200, 40, 40, 0))
    picture.paste((200, 40, 40, 255), (0, 0, 20, 30))
    cutout = Cutout(picture, CAR, 1.0, frozenset())
    for mirrored, columns in ((False, slice(20, 40)), (True, slice(40, 60))):
        fixed(monkeypatch, Placement(cutout, 20, 130, (40, 30), mirrored))
        regions = composed(empty()).regions
        assert (regions[100:130, columns] == 11).all()
        assert np.count_nonzero(regions == 11) == 600


def test_light_moves_halfway():
    random = np.random.default_rng(0)
    mine = random.normal(40, 5, (20, 20, 3)).astype(np.float32)
    theirs = random.normal(160, 40, (20, 20, 3)).astype(np.float32)
    inside = np.ones((20, 20), bool)
    lit = match_light(mine, inside, theirs)
    assert lit.mean() == pytest.approx(100, abs=4)
    assert mine.std() < lit.std() < theirs.std()
    np.testing.assert_array_equal(match_light(mine, ~inside, theirs), mine)


def test_horizon():
    assert horizon(empty().regions) == HORIZON_ROW - HORIZON_ABOVE_ROAD
    assert horizon(np.zeros((20, 30), np.uint8)) is None


@pytest.mark.parametrize("seed", range(8))
def test_places_are_on_the_ground_in_perspective(street_root, seed):
    scene = CamVidScenes(street_root / "camvid", "train")[0]
    coco = CocoCutouts(street_root / "coco", "train")
    level = horizon(scene.regions)
    assert level is not None
    placements = plan(scene, coco.draw, 6, np.random.default_rng(seed))
    assert 1 <= len(placements) <= 6
    for placement in placements:
        width, height = placement.size
        expected = SLOPE[placement.cutout.class_id] * (placement.bottom - level)
        assert 0.5 * expected < height < 2 * expected
        assert height >= MIN_PASTED_HEIGHT
        ratio = placement.cutout.picture.width / placement.cutout.picture.height
        assert width == pytest.approx(height * ratio, abs=1)
        assert placement.bottom <= HEIGHT


def test_the_first_object_of_each_class_stands_on_its_surface(street_root):
    scene = CamVidScenes(street_root / "camvid", "train")[0]
    coco = CocoCutouts(street_root / "coco", "train")
    found: dict[int, set[int]] = {CAR: set(), PEDESTRIAN: set(), BICYCLIST: set()}
    for seed in range(60):
        for placement in plan(scene, coco.draw, 1, np.random.default_rng(seed)):
            column = placement.left + placement.size[0] // 2
            surface = int(scene.regions[placement.bottom - 1, column])
            found[placement.cutout.class_id].add(surface)
    assert found == {CAR: {ROAD}, PEDESTRIAN: {ROAD, PAVEMENT}, BICYCLIST: {ROAD}}


def test_objects_cut_by_their_image_go_to_the_border():
    for side in ("left", "right"):
        cutout = block(size=(60, 40), cut=frozenset({side}))
        for seed in range(5):
            placements = plan(empty(), drawing(cutout), 1, np.random.default_rng(seed))
            assert placements
            for placement in placements:
                at_left = (side == "left") != placement.mirrored
                assert placement.left == (0 if at_left else WIDTH - placement.size[0])


def test_nothing_fits():
    random = np.random.default_rng(0)
    sky = Scene(np.zeros((50, 60, 3), np.uint8), np.zeros((50, 60), np.uint8), (), 11)
    assert compose(sky, drawing(block()), 4, random) is sky
    scene = empty()
    assert compose(scene, drawing(block()), 0, random) is scene
    tiny = block(size=(4, 3))  # would have to be enlarged too much
    assert plan(empty(), drawing(tiny), 4, random) == []


@pytest.mark.data
def test_perspective_is_that_of_the_frames(shared_data):
    scenes = CamVidScenes(shared_data / "camvid", "train")
    errors = []
    for index in range(0, len(scenes), 8):
        labels = scenes.labels(index)
        level = horizon(labels.regions)
        assert level is not None
        for owner, (rows, columns) in zip(labels.owners, labels.boxes, strict=True):
            inside = columns.start > 0 and columns.stop < 480 and rows.stop < 355
            if inside and rows.stop - level > 12:
                expected = SLOPE[owner] * (rows.stop - level)
                errors.append(np.log((rows.stop - rows.start) / expected))
    assert len(errors) > 80
    assert abs(np.median(errors)) < 0.1
    assert np.median(np.abs(errors)) < 0.22


@pytest.mark.parametrize("seed", range(8))
def test_a_near_object_is_cut_by_the_lower_border(seed):
    random = np.random.default_rng(seed)
    after = paste_near(empty(), drawing(block(PEDESTRIAN, (60, 150))), random)
    assert after.owners == (PEDESTRIAN,)
    rows = np.flatnonzero((after.regions == 11).any(axis=1))
    assert rows[-1] == HEIGHT - 1
    assert len(rows) >= 0.25 * HEIGHT


def test_a_near_object_is_never_a_blur():
    before = empty()
    after = paste_near(before, drawing(block(size=(12, 12))), np.random.default_rng(0))
    assert after is before


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_near_object_keeps_to_the_border_that_cuts_it(side):
    for seed in range(6):
        cutout = block(PEDESTRIAN, (60, 150), cut=frozenset({side}))
        after = paste_near(empty(), drawing(cutout), np.random.default_rng(seed))
        columns = np.flatnonzero((after.regions == 11).any(axis=0))
        assert columns[0] == 0 or columns[-1] == WIDTH - 1
