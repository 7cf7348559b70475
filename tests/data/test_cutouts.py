from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from tests.data.street import (
    CAR_ID,
    PERSON_ID,
    annotation,
    box_polygon,
    slim,
    write_coco,
)

from triptych.data.camvid import BICYCLIST, CAR, PEDESTRIAN, CamVidScenes
from triptych.data.coco import Outline, read_outlines
from triptych.data.cutouts import (
    LARGEST_SIDE,
    CocoCutouts,
    Cutout,
    FrameCutouts,
    Mixture,
    cut,
)
from triptych.errors import TriptychError


def alpha(cutout: Cutout) -> np.ndarray:
    return np.asarray(cutout.picture)[..., 3] / 255


def outline_of(tmp_path, *parts, box=(20, 20, 110, 80)) -> Outline:
    write_coco(tmp_path)
    return Outline(tmp_path / "images" / "1.png", CAR, parts, box, 1.0, frozenset())


def test_pixels_are_those_of_the_image(tmp_path):
    cutout = cut(outline_of(tmp_path, [box_polygon(20, 20, 90, 60)]))
    image = np.asarray(Image.open(tmp_path / "images" / "1.png"))
    np.testing.assert_array_equal(np.asarray(cutout.picture)[..., :3], image[20:80, 20:110])
    assert alpha(cutout).min() > 0.7  # pixels wholly inside; Pillow's outline is inexact by 1/4
    assert cutout.class_id == CAR


def test_alpha_is_the_share_of_the_pixel(tmp_path):
    cutout = cut(outline_of(tmp_path, [box_polygon(30.5, 40, 20, 10)]))
    shares = alpha(cutout)
    assert shares[25, 10] == pytest.approx(0.5, abs=0.26)
    assert shares[25, 11:30].min() == 1
    assert shares[25, :10].max() == 0
    assert shares.sum() == pytest.approx(200, rel=0.06)


@pytest.mark.data
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_polygons_agree_with_the_reference_rasteriser(shared_data):
    masks = pytest.importorskip("pycocotools.mask")
    for outline in read_outlines(shared_data / "coco" / "val")[:30]:
        left, top, right, bottom = outline.box
        if max(right - left, bottom - top) > LARGEST_SIDE:
            continue
        height, width = np.asarray(Image.open(outline.image)).shape[:2]
        polygons = [polygon for part in outline.parts for polygon in part]
        runs = masks.merge(masks.frPyObjects(polygons, height, width))
        theirs = masks.decode(runs)[top:bottom, left:right].astype(bool)
        ours = alpha(cut(outline)) >= 0.5
        union = np.count_nonzero(ours | theirs)
        assert np.count_nonzero(ours & theirs) / union > 0.93
        # They may differ at the edge only.
        inner = alpha(cut(outline)) == 1
        assert np.count_nonzero(inner & ~theirs) < 0.03 * union


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_run_lengths_plain_and_compressed(tmp_path):
    masks = pytest.importorskip("pycocotools.mask")
    inside = np.zeros((200, 320), np.uint8)
    inside[30:50, 40:100] = 1
    packed = masks.encode(np.asfortranarray(inside))
    flat = inside.T.ravel()
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flat])))
    counts = np.diff(np.concatenate([[0], edges, [flat.size]])).tolist()
    for part in (
        {"size": [200, 320], "counts": counts},
        {"size": [200, 320], "counts": packed["counts"].decode()},
    ):
        found = alpha(cut(outline_of(tmp_path, part)))
        np.testing.assert_array_equal(found, inside[20:80, 20:110])


def test_parts_are_united(tmp_path):
    one, other = [box_polygon(20, 20, 30, 60)], [box_polygon(80, 20, 30, 60)]
    shares = alpha(cut(outline_of(tmp_path, one, other)))
    assert shares[30, 10] == shares[30, 80] == 1
    assert shares[30, 45] == 0


def test_large_objects_are_kept_small(tmp_path):
    outline = outline_of(tmp_path, [box_polygon(0, 0, 320, 200)], box=(0, 0, 320, 200))
    assert cut(outline).picture.size == (LARGEST_SIDE, round(200 * LARGEST_SIDE / 320))


def test_damage_names_the_image(tmp_path):
    with pytest.raises(TriptychError, match=r"1\.png is 320x200"):
        cut(outline_of(tmp_path, [box_polygon(0, 0, 10, 10)], box=(300, 0, 400, 50)))
    for part in ([[1, 2, 3]], {"size": [2, 2]}, [["a", "b", "c", "d"]]):
        with pytest.raises(TriptychError, match=r"outline in image .*1\.png"):
            cut(outline_of(tmp_path, part))
    outline = outline_of(tmp_path, [box_polygon(0, 0, 10, 10)])
    outline.image.unlink()
    with pytest.raises(TriptychError, match=r"1\.png"):
        cut(outline)


def test_every_class_must_have_an_object(tmp_path):
    write_coco(tmp_path / "val", [annotation(CAR_ID, 20, 20, 90, 60)])
    with pytest.raises(TriptychError, match="has no pedestrian"):
        CocoCutouts(tmp_path, "val")


def test_drawing_reaches_all_objects_of_a_class(tmp_path, street_root):
    coco = CocoCutouts(street_root / "coco", "train")
    random = np.random.default_rng(0)
    for class_id in (CAR, PEDESTRIAN, BICYCLIST):
        assert coco.draw(class_id, random).class_id == class_id
    people = [slim(PERSON_ID, x, 20, 20 + x / 20, 80) for x in (20, 100, 180)]
    write_coco(tmp_path / "val", [annotation(CAR_ID, 20, 110, 90, 60), *people])
    outlines = read_outlines(tmp_path / "val")
    coco.outlines = {PEDESTRIAN: [o for o in outlines if o.class_id == PEDESTRIAN]}
    assert len({coco.draw(PEDESTRIAN, random).picture.size for _ in range(30)}) == 3


def picture(colour: tuple[int, int, int]) -> Cutout:
    return Cutout(Image.new("RGBA", (20, 20), (*colour, 255)), CAR, 1.0, frozenset())


def test_night_and_grey_are_not_presentable():
    assert picture((120, 90, 60)).presentable
    assert not picture((12, 9, 6)).presentable
    assert not picture((120, 120, 120)).presentable
    empty = Cutout(Image.new("RGBA", (9, 9), (120, 90, 60, 0)), CAR, 1.0, frozenset())
    assert not empty.presentable


def test_dark_objects_are_passed_over_while_there_is_choice(street_root, monkeypatch):
    coco = CocoCutouts(street_root / "coco", "train")
    dark, light = picture((12, 9, 6)), picture((120, 90, 60))
    order = iter([dark, dark, light])
    monkeypatch.setattr("triptych.data.cutouts.cut", lambda outline: next(order))
    assert coco.draw(CAR, np.random.default_rng(0)) is light
    monkeypatch.setattr("triptych.data.cutouts.cut", lambda outline: dark)
    assert coco.draw(CAR, np.random.default_rng(0)) is dark


def test_objects_of_frames(street_root):
    frames = CamVidScenes(street_root / "camvid", "train")
    own = FrameCutouts(frames)
    random = np.random.default_rng(0)
    car = own.draw(CAR, random)
    assert car is not None
    assert car.picture.size == (35, 30)
    assert alpha(car).min() == 1
    assert own.draw(BICYCLIST, random) is None
    again = own.draw(CAR, np.random.default_rng(0))
    assert again is car


def test_the_cache_of_frame_objects_is_bounded(street_root, monkeypatch):
    monkeypatch.setattr("triptych.data.cutouts.CACHED", 2)
    own = FrameCutouts(CamVidScenes(street_root / "camvid", "train"))
    random = np.random.default_rng(0)
    first = [own.draw(class_id, random) for class_id in (CAR, PEDESTRIAN) * 10]
    assert len(own._cached) == 2
    assert len({id(cutout) for cutout in first}) > 2


def test_mixture_draws_from_both(street_root):
    coco = CocoCutouts(street_root / "coco", "train")
    own = FrameCutouts(CamVidScenes(street_root / "camvid", "train"))
    random = np.random.default_rng(0)

    def drawn(share: float, class_id: int = CAR) -> set[tuple[int, int]]:
        mixture = Mixture(coco, own, share)
        return {mixture.draw(class_id, random).picture.size for _ in range(20)}

    assert drawn(0) == {(90, 60)}
    assert drawn(1) == {(35, 30)}
    assert drawn(0.5) == {(90, 60), (35, 30)}
    assert drawn(1, BICYCLIST) == {(70, 90)}  # frames have none: COCO helps out


def test_objects_come_from_more_folders(tmp_path, street_root):
    write_coco(
        tmp_path / "more", [slim(PERSON_ID, 40, 20, 32, 90), slim(PERSON_ID, 90, 20, 32, 90)]
    )
    one = CocoCutouts(street_root / "coco", "train")
    both = CocoCutouts(street_root / "coco", "train", [tmp_path / "more"])
    counts = [len(cutouts.outlines[PEDESTRIAN]) for cutouts in (one, both)]
    assert counts[1] == counts[0] + 2
    assert {outline.image.parents[1] for outline in both.outlines[PEDESTRIAN]} == {
        street_root / "coco" / "train",
        tmp_path / "more",
    }
