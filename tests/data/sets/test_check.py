"""What ``triptych data check`` says about every kind of fault."""

from __future__ import annotations

import pickle
import re
import shutil
import tracemalloc

import numpy as np
import pytest
from PIL import Image
from tests.data.sets import disk
from tests.data.sets.test_open import cityscapes, mapillary, voc

from triptych.commands.cli import main
from triptych.data.sets.base import DataError, EmptySetError, Fault, FaultKind
from triptych.data.sets.check import check
from triptych.data.sets.open import open_set
from triptych.data.sets.report import before_use
from triptych.errors import TriptychError


def faults(source, split=None):
    """``kind: text`` of every fault."""
    found = [fault for each in check(open_set(source, split), {}) for fault in each]
    assert not any("\n" in fault.text for fault in found)
    return [f"{fault.kind.label}: {fault.text}" for fault in found]


def only(source, *words):
    """The one fault there is; it must match each of ``words``."""
    found = faults(source)
    assert len(found) == 1, found
    for word in words:
        assert re.search(word, found[0]), found[0]


@pytest.mark.parametrize(
    "make",
    [disk.camvid, disk.plain, disk.coco_instances, disk.coco_panoptic, cityscapes, mapillary],
)
def test_nothing_is_wrong_with_a_sound_set(tmp_path, make):
    assert faults(make(tmp_path / "set")) == []


def test_memory_does_not_grow_with_the_set(tmp_path):
    def peak(count):
        for number in range(count):
            disk.photo(tmp_path / "val" / "images" / f"0016E5_{number:05}.jpg", number, (200, 300))
            labels = tmp_path / "val" / "labels" / f"0016E5_{number:05}.png"
            disk.numbers(labels, np.zeros((200, 300)))
        data = open_set(tmp_path)
        tracemalloc.start()
        assert [fault for found in check(data, {}) for fault in found] == []
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    few = peak(3)
    assert few > 200 * 300 * 3  # an image at a time
    assert peak(20) < few + 200 * 300  # though 17 more were read


def test_faults_pass_between_processes():
    error = DataError("a.png: no such file", FaultKind.MISSING)
    again = pickle.loads(pickle.dumps(error))
    assert again.fault == error.fault == Fault(FaultKind.MISSING, "a.png: no such file")
    assert str(type(error)("told anew")) == "told anew"  # as torch's workers do it


class TestFiles:
    def test_missing_image(self, tmp_path):
        disk.coco_instances(tmp_path)
        (tmp_path / "val" / "images" / "1.png").unlink()
        only(tmp_path, r"^missing file: image .*images/1\.png: no such file$")
        with pytest.raises(TriptychError, match=r"images/1\.png: no such file"):
            open_set(tmp_path)[0]

    def test_missing_map(self, tmp_path):
        disk.coco_panoptic(tmp_path)
        (tmp_path / "annotations" / "panoptic_val2017" / "a.png").unlink()
        only(tmp_path, r"^missing file: labels .*panoptic_val2017/a\.png: no such file$")

    def test_truncated_image_and_labels_are_both_told(self, tmp_path):
        file = disk.plain(tmp_path)
        for path in (tmp_path / "images" / "a.png", tmp_path / "labels" / "a.png"):
            content = path.read_bytes()
            path.write_bytes(content[: len(content) * 2 // 3])
        image, labels = faults(file)
        assert re.match(r"unreadable file: image .*images/a\.png: is truncated or damaged", image)
        assert re.match(r"unreadable file: labels .*labels/a\.png cannot be read \(", labels)

    def test_what_is_no_image(self, tmp_path):
        file = disk.plain(tmp_path)
        (tmp_path / "images" / "a.png").write_text("hello")
        only(file, r"^unreadable file: image .*images/a\.png: is a text file, not an image")

    def test_labels_in_colour(self, tmp_path):
        file = disk.plain(tmp_path)
        disk.photo(tmp_path / "labels" / "a.png")
        only(
            file, r"^unreadable file: labels .*a\.png have mode RGB, colours in place of class numb"
        )

    def test_labels_as_jpeg(self, tmp_path):
        file = disk.plain(tmp_path, names=("a",))
        (tmp_path / "labels" / "a.png").unlink()
        disk.numbers(tmp_path / "labels" / "a.jpg", disk.halves(0, 1))
        only(file, r"^unreadable file: labels .*a\.jpg are a JPEG file, which changes numbers")

    def test_panoptic_map_in_grey(self, tmp_path):
        disk.coco_panoptic(tmp_path)
        map_file = tmp_path / "annotations" / "panoptic_val2017" / "a.png"
        disk.numbers(map_file, disk.halves(0, 7))
        only(tmp_path, r"^unreadable file: panoptic map .*a\.png has mode L: expected RGB")

    def test_sizes(self, tmp_path):
        file = disk.plain(tmp_path)
        disk.numbers(tmp_path / "labels" / "a.png", np.zeros((5, 7)))
        only(file, r"^size mismatch: image .*a\.png is 16x12, its labels are 7x5: give both")
        with pytest.raises(TriptychError, match=r"is 16x12, its labels are 7x5"):
            open_set(file)[0]

    def test_an_image_that_was_labelled_before_it_was_turned(self, tmp_path):
        file = disk.plain(tmp_path, names=("a",))
        exif = Image.Exif()
        exif[0x0112] = 6
        with Image.open(tmp_path / "images" / "a.png") as picture:
            picture.load()
        picture.save(tmp_path / "images" / "a.png", exif=exif)
        only(file, r"is 12x16, its labels are 16x12: were they drawn without regard to the turn")

    def test_sizes_in_the_json(self, tmp_path):
        def change(content):
            content["images"][0]["width"] = 20

        disk.coco_panoptic(tmp_path, change)
        only(tmp_path, r"^size mismatch: panoptic map .*a\.png is 16x12, .*\.json says 20x12$")

    def test_sizes_of_labels_and_objects(self, tmp_path):
        cityscapes(tmp_path, marks=lambda marks: marks[:5])
        only(tmp_path, r"^size mismatch: objects .*instanceIds\.png are 16x5, the labels 16x12")


class TestPartners:
    def test_image_without_labels(self, tmp_path):
        file = disk.plain(tmp_path)
        (tmp_path / "labels" / "a.png").unlink()
        only(file, r"^image without labels: image .*images/a\.png has no labels .*labels/a\.png")
        assert len(open_set(file)) == 1

    def test_labels_without_image(self, tmp_path):
        file = disk.plain(tmp_path)
        (tmp_path / "images" / "a.png").unlink()
        only(file, r"^labels without image: labels .*labels/a\.png have no image .*images/a\.\*")

    def test_cityscapes_partners(self, tmp_path):
        cityscapes(tmp_path)
        disk.photo(tmp_path / "leftImg8bit/val/ulm/ulm_000000_000002_leftImg8bit.png", 2)
        disk.numbers(tmp_path / "gtFine/val/bonn/bonn_000000_000001_gtFine_labelIds.png", [[7]])
        image, labels = faults(tmp_path)
        assert re.match(r"image without labels: .*000002_leftImg8bit\.png has no labels", image)
        assert re.match(r"labels without image: .*bonn_000000_000001_gtFine_labelIds", labels)

    def test_labels_that_are_void_everywhere(self, tmp_path):
        disk.camvid(tmp_path)
        disk.numbers(tmp_path / "val" / "labels" / "0016E5_00000.png", disk.halves(11, 11))
        only(tmp_path, r"^image without labels: labels .*00000\.png are void everywhere")

    def test_panoptic_image_without_annotation(self, tmp_path):
        def change(content):
            content["images"].append({"id": "b", "file_name": "b.png", "height": 1, "width": 1})

        disk.coco_panoptic(tmp_path, change)
        only(tmp_path, r"^image without labels: .*\.json: image b\.png has no annotation; it is le")
        assert len(open_set(tmp_path)) == 1

    def test_annotation_of_an_image_that_is_not_listed(self, tmp_path):
        def change(content):
            content["annotations"].append(disk.annotation(3, 9, disk.box(0, 0, 4, 4)))

        disk.coco_instances(tmp_path, change)
        only(
            tmp_path, r"^labels without image: .*json: annotations\[3\] is about image 3, which is"
        )

    def test_voc_lists(self, tmp_path):
        voc(tmp_path, disk.halves(0, 15), names=("a", "b", "a"))
        guessed, gone, twice = faults(tmp_path)
        assert re.match(r"classes not named: .*numbers are read as those of PASCAL VOC", guessed)
        assert re.match(r"image without labels: .*val\.txt: b has no labels .*b\.png", gone)
        assert re.match(r"duplicate image: .*val\.txt: a stands twice", twice)


class TestTwice:
    def test_same_picture_in_another_format(self, tmp_path):
        disk.camvid(tmp_path, "train")
        disk.camvid(tmp_path, "val", 3)
        with Image.open(tmp_path / "val" / "images" / "0016E5_00002.jpg") as picture:
            picture.save(tmp_path / "val" / "images" / "0016E5_00009.png")
        shutil.copy(
            tmp_path / "val" / "labels" / "0016E5_00002.png",
            tmp_path / "val" / "labels" / "0016E5_00009.png",
        )
        only(
            tmp_path,
            r"^duplicate image: images .*00002\.jpg and .*00009\.png are the same picture$",
        )

    def test_across_splits(self, tmp_path, capsys):
        disk.camvid(tmp_path, "train", 2)
        disk.camvid(tmp_path, "val", 1)
        assert faults(tmp_path, "val") == []
        assert main(["data", "check", str(tmp_path)]) == 2
        told = capsys.readouterr().out.splitlines()
        assert re.match(r"CamVid in .*, split train: 2 images, 11 classes, 0 faults, ", told[0])
        assert re.match(r"duplicate image: images .*train/.* and .*val/.* are the same", told[1])
        assert re.match(r"CamVid in .*, split val: 1 image, 11 classes, 1 fault, ", told[2])
        assert told[3:] == ["       1  duplicate image"]

    def test_two_files_with_one_name(self, tmp_path):
        file = disk.plain(tmp_path)
        disk.photo(tmp_path / "images" / "a.jpg", 9)
        only(file, r"^duplicate image: images .*a\.jpg and .*a\.png share one name; the second")

    def test_names_that_differ_in_case_only(self, tmp_path):
        file = disk.plain(tmp_path, names=("a", "A"))
        if len(list((tmp_path / "images").iterdir())) < 2:
            pytest.skip("this file system takes the two names for one")
        only(file, r"^names differ in case only: images .*A\.png and .*a\.png: Windows and macOS")

    def test_two_images_of_one_id_lose_their_objects(self, tmp_path):
        def change(content):
            content["images"][1]["id"] = 1.0  # the number 1, in another spelling

        disk.coco_instances(tmp_path, change)
        with pytest.raises(
            EmptySetError, match=r"images\[0\], 1\.png, shares the id 1 with 2\.png"
        ):
            open_set(tmp_path)

    def test_and_so_does_an_image_that_is_listed_again(self, tmp_path):
        def change(content):
            images = content["images"]
            images += [images[0] | {"id": 2}, images[0] | {"id": 3, "file_name": "3.png"}]

        disk.coco_instances(tmp_path, change)
        data = open_set(tmp_path)
        assert [data.name(index) for index in range(len(data))] == ["3"]

    def test_an_image_with_two_ids_is_one_image(self, tmp_path):
        def change(content):
            content["images"].append(content["images"][0] | {"id": "5"})
            content["annotations"].append(disk.annotation(5, 3, disk.box(8, 0, 4, 4)))

        disk.coco_instances(tmp_path, change)
        only(
            tmp_path, r"^duplicate image: .*lists 1\.png again, with id 5 after 1; they are joined"
        )
        assert len(disk.objects(open_set(tmp_path)[0])) == 4

    def test_an_image_of_two_sizes(self, tmp_path):
        def change(content):
            content["images"].append(content["images"][0] | {"id": 5, "height": 1})

        disk.coco_instances(tmp_path, change)
        only(tmp_path, r"^size mismatch: .*lists 1\.png again, as 16x1 after 16x12: which of them")
        with pytest.raises(TriptychError, match="which of them"):
            before_use(open_set(tmp_path), "learn")


class TestNumbers:
    def test_numbers_of_no_class(self, tmp_path):
        file = disk.plain(tmp_path, "classes: [{name: road}]\nvoid: [255]\n", names=("a",))
        only(
            file,
            r"^unknown id: labels .*a\.png hold 1 \(96 pixels\): neither a class nor void; correct",
        )
        with pytest.raises(TriptychError, match="neither a class nor void"):
            open_set(file)[0]

    def test_many_of_them_make_one_line(self, tmp_path):
        disk.camvid(tmp_path, frames=1)
        values = np.arange(disk.HEIGHT * disk.WIDTH).reshape(disk.HEIGHT, disk.WIDTH)
        disk.numbers(tmp_path / "val" / "labels" / "0016E5_00000.png", values)
        only(tmp_path, r"hold 12 \(1 pixel\), 13 \(1 pixel\), 14 .* and 175 more: neither")

    @pytest.mark.parametrize("category", [4, None, "person", [3]])
    def test_categories_of_objects(self, tmp_path, category):
        def change(content):
            content["annotations"][0]["category_id"] = category

        disk.coco_instances(tmp_path, change)
        only(
            tmp_path,
            r"^unknown id: .*instances\.json: annotation 1 of 1\.png: category .* is not listed$",
            re.escape(repr(category)),
        )
        with pytest.raises(TriptychError, match="is not listed"):
            open_set(tmp_path)[0]

    def test_categories_of_segments(self, tmp_path):
        def change(content):
            content["annotations"][0]["segments_info"][0]["category_id"] = 3

        disk.coco_panoptic(tmp_path, change)
        only(tmp_path, r"^unknown id: .*json: segment 300 of a\.png: category 3 is not listed$")


class TestOutlines:
    @pytest.mark.parametrize(
        ("outline", "kind", "words"),
        [
            ([], FaultKind.EMPTY_OUTLINE, "it has no outline"),
            ([[1, 1, 5, 5]], FaultKind.EMPTY_OUTLINE, "a polygon has 2 points, fewer than three"),
            (disk.box(3, 3, 0, 0), FaultKind.EMPTY_OUTLINE, "its outline covers no pixel"),
            ({"size": [12, 16], "counts": [192]}, FaultKind.EMPTY_OUTLINE, "covers no pixel"),
            (disk.box(0, 0, 21, 12), FaultKind.OUTSIDE, "reaches 5 pixels out of the 16x12 image"),
            (disk.box(-4, 0, 6, 6), FaultKind.OUTSIDE, "reaches 4 pixels out of the 16x12 image"),
            ([[1, 1, 5, 1, 5]], FaultKind.BROKEN, "a polygon has 5 numbers, x without y"),
            ([[1, 1, 5, 1, 5, "5"]], FaultKind.BROKEN, "a polygon is no list of numbers"),
            ([[1, 1, 5, 1, 5, float("nan")]], FaultKind.BROKEN, "a polygon is no list of numbers"),
            (None, FaultKind.EMPTY_OUTLINE, "it has no outline"),
            ("", FaultKind.BROKEN, "its outline is neither polygons nor run lengths"),
            ([{}], FaultKind.BROKEN, "a polygon is no list of numbers but {}"),
            (
                [[1, 1, 5, 1, 5, True]],
                FaultKind.BROKEN,
                "a polygon is no list of numbers: it holds True",
            ),
            ([[10**400, 1, 5, 1, 5, 5]], FaultKind.BROKEN, "it holds 1000"),
            (
                [[-1e8, 1, 5, 1, 5, 5]],
                FaultKind.BROKEN,
                "reaches 100000000 pixels out of the 16x12",
            ),
            (
                {"size": [16, 12], "counts": [192]},
                FaultKind.BROKEN,
                r"are for size \[16, 12\], the im",
            ),
            ({"size": [12, 16], "counts": [4, 4]}, FaultKind.BROKEN, "add up to 8 pixels, not 192"),
            ({"size": [12, 16], "counts": [-4, 196]}, FaultKind.BROKEN, "one of them is negative"),
            ({"size": [12, 16], "counts": "Q5"}, FaultKind.BROKEN, "add up to 161 pixels, not 192"),
            ({"size": [12, 16], "counts": "1P"}, FaultKind.BROKEN, "they end within a number"),
            (
                {"size": [12, 16], "counts": "oooooooo0"},
                FaultKind.BROKEN,
                "a number that is too large",
            ),
            ({"size": [12, 16], "counts": ["a"]}, FaultKind.BROKEN, "run lengths cannot be read"),
            ({"size": [12, 16], "counts": "zz!"}, FaultKind.BROKEN, "run lengths cannot be read"),
            ({"size": [12, 16]}, FaultKind.BROKEN, "run lengths cannot be read"),
        ],
    )
    def test_faults(self, tmp_path, outline, kind, words):
        def change(content):
            content["annotations"].append(disk.annotation(2, 3, outline))

        disk.coco_instances(tmp_path, change)
        only(tmp_path, rf"^{kind.label}: .*json: annotation 7 of 2\.png: ", words)
        if kind.grave:
            with pytest.raises(TriptychError, match=words):
                open_set(tmp_path)[1]
        else:
            assert open_set(tmp_path)[1].image.shape == (disk.HEIGHT, disk.WIDTH, 3)

    def test_what_lies_outside_is_cut_off(self, tmp_path):
        def change(content):
            content["annotations"].append(disk.annotation(2, 3, disk.box(-4, 0, 6, 6)))

        disk.coco_instances(tmp_path, change)
        (true,) = disk.objects(open_set(tmp_path)[1])
        assert true.mask[:6, :2].all()
        assert true.mask.sum() == 12
        assert true.area is None

    def test_a_pixel_beyond_the_border_is_rounding(self, tmp_path):
        def change(content):
            content["annotations"].append(disk.annotation(2, 3, disk.box(-0.9, 0, 17.8, 12.9)))

        assert faults(disk.coco_instances(tmp_path, change)) == []

    @pytest.mark.parametrize(
        ("area", "words"),
        [
            (400.0, "its area is 400, its outline covers 192 pixels"),
            (70.0, "its area is 70, its outline covers 192 pixels"),
            (-1.0, r"its area is -1\.0; the pixels are counted instead"),
            ("many", "its area is 'many'; the pixels are counted instead"),
        ],
    )
    def test_areas(self, tmp_path, area, words):
        def change(content):
            outline = disk.box(0, 0, disk.WIDTH, disk.HEIGHT)
            content["annotations"].append(disk.annotation(2, 3, outline, area=area))

        disk.coco_instances(tmp_path, change)
        only(tmp_path, r"^area differs: .*annotation 7 of 2\.png: ", words)


class TestSegments:
    def test_ids_without_segment(self, tmp_path):
        def change(content):
            del content["annotations"][0]["segments_info"][2]

        disk.coco_panoptic(tmp_path, change)
        crowds, segment = faults(tmp_path)
        assert re.match(
            r"id without segment: panoptic map .*a\.png holds id 70000 \(12 pixels\), which",
            segment,
        )
        assert re.match(r"nothing to find: all 1 objects are crowds", crowds)
        with pytest.raises(TriptychError, match="which no segment has"):
            open_set(tmp_path)[0]

    def test_segments_without_pixels(self, tmp_path):
        def change(content):
            more = {"id": 9, "category_id": 4, "iscrowd": 0, "area": 5}
            content["annotations"][0]["segments_info"].append(more)

        disk.coco_panoptic(tmp_path, change)
        only(tmp_path, r"^segment without pixels: panoptic map .*a\.png has no pixel of segment 9")
        assert len(disk.segments(open_set(tmp_path)[0])) == 5  # missed, as panopticapi counts

    def test_overlaps(self, tmp_path):
        def change(content):
            segments = content["annotations"][0]["segments_info"]
            segments.append(dict(segments[0], category_id=2))

        disk.coco_panoptic(tmp_path, change)
        only(tmp_path, r"^overlap: .*json: segment 300 of a\.png: a second segment claims the same")
        with pytest.raises(TriptychError, match="a second segment claims"):
            open_set(tmp_path)[0]

    def test_areas(self, tmp_path):
        def change(content):
            content["annotations"][0]["segments_info"][3]["area"] = 13

        disk.coco_panoptic(tmp_path, change)
        only(tmp_path, r"^area differs: .*a\.png: segment 8 has 12 pixels, its area says 13$")

    @pytest.mark.parametrize("number", [0, -3, 2**24, 7.5, "x", None, True, 10**400])
    def test_ids_that_no_colour_can_tell(self, tmp_path, number):
        def change(content):
            more = {"id": number, "category_id": 4, "iscrowd": 0}
            content["annotations"][0]["segments_info"].append(more)

        disk.coco_panoptic(tmp_path, change)
        only(tmp_path, r"^broken annotation: .*: an id is a whole number from 1 to 16777215$")

    def test_two_annotations_of_an_image(self, tmp_path):
        def change(content):
            content["annotations"] *= 2

        disk.coco_panoptic(tmp_path, change)
        with pytest.raises(EmptySetError, match=r"image a\.png has 2 annotations; it is left out$"):
            open_set(tmp_path)


class TestMapsThatDisagree:
    def test_cityscapes(self, tmp_path):
        def marks(single):
            single[3:5, 0] = 24003
            return single

        cityscapes(tmp_path, marks)
        only(
            tmp_path, r"^label maps disagree: instances .* give 2 pixels another class than the la"
        )
        with pytest.raises(TriptychError, match="another class"):
            open_set(tmp_path)[0]

    def test_mapillary(self, tmp_path):
        mapillary(tmp_path)
        disk.numbers(tmp_path / "validation/instances/x.png", disk.halves(0, 512) + 256, wide=True)
        only(tmp_path, r"^label maps disagree: instances .*x\.png give \d+ pixels another class")

    def test_voc(self, tmp_path):
        labels, objects = disk.halves(0, 15), disk.halves(0, 1)
        labels[:2, 8:] = 7
        objects[5, :3] = 1
        border, mixed = faults(voc(tmp_path, labels, objects))
        assert re.match(
            r"label maps disagree: .*: 3 pixels are of an object in one map and", border
        )
        assert re.match(r"label maps disagree: .*: object 1 is of several classes$", mixed)


class TestJson:
    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("{", r"instances\.json are no JSON \("),
            ("[]", r"no list 'images', so it is no COCO annotation file"),
            ('{"images": [], "annotations": []}', r"no list 'categories'"),
            ("", r"instances\.json: the file is empty"),
            ("[" * 100_000, r"instances\.json are no JSON \("),
            ('{"images": [], "annotations": [], "categories": []}', "lists no categories"),
            ('{"images": [], "annotations": [], "categories": [{"id": 1}]}', "has no name"),
            (
                '{"images": [], "annotations": [], "categories": [{"id": 1, "name": "a"}]}',
                "lists no images",
            ),
        ],
    )
    def test_files_that_are_no_annotations(self, tmp_path, text, words):
        disk.coco_instances(tmp_path)
        (tmp_path / "val" / "instances.json").write_text(text)
        with pytest.raises(TriptychError, match=words):
            open_set(tmp_path)

    @pytest.mark.parametrize("entry", [{}, {"id": 3}, 5, {"id": [1], "file_name": "x"}])
    def test_entries_that_are_no_images(self, tmp_path, entry):
        disk.coco_instances(tmp_path, lambda content: content["images"].append(entry))
        only(
            tmp_path, r"^broken entry: .*json: images\[2\] (has no|is no mapping).*; it is left out"
        )

    @pytest.mark.parametrize("entry", [{}, 5, {"image_id": [1]}])
    def test_entries_that_are_no_annotations(self, tmp_path, entry):
        disk.coco_instances(tmp_path, lambda content: content["annotations"].append(entry))
        only(tmp_path, r"^annotation without image: .*json: annotations\[3\] has no image_id")
        with pytest.raises(TriptychError, match="some image lacks an object"):
            before_use(open_set(tmp_path), "measure")

    def test_panoptic_annotation_without_segments(self, tmp_path):
        def change(content):
            content["images"].append({"id": "b", "file_name": "b.png", "height": 1, "width": 1})
            content["annotations"].append({"image_id": "b", "file_name": "b.png"})

        disk.coco_panoptic(tmp_path, change)
        only(tmp_path, r"^broken entry: .*its annotation has no file_name or segments_info")
