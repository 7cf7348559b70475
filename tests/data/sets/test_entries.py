"""What other tools write into the lists of COCO's files."""

from __future__ import annotations

import unicodedata

import pytest
from tests.data.sets import disk

from triptych.data.sets.base import EmptySetError, FaultKind
from triptych.data.sets.check import check
from triptych.data.sets.open import open_set
from triptych.errors import TriptychError


def faults(source):
    return [fault for each in check(open_set(source), {}) for fault in each]


class TestIds:
    @pytest.mark.parametrize("spell", [str, float, lambda number: f" {number}.0"])
    @pytest.mark.parametrize("where", ["images", "annotations", "categories", "both"])
    def test_numbers_match_however_they_are_written(self, tmp_path, spell, where):
        def change(content):
            for image in content["images"] if where in ("images", "both") else ():
                image["id"] = spell(image["id"])
            for category in content["categories"] if where in ("categories", "both") else ():
                category["id"] = spell(category["id"])
            for entry in content["annotations"] if where == "annotations" else ():
                entry["image_id"] = spell(entry["image_id"])
                entry["category_id"] = spell(entry["category_id"])

        disk.coco_instances(tmp_path, change)
        assert faults(tmp_path) == []
        assert sorted(o.class_id for o in disk.objects(open_set(tmp_path)[0])) == [0, 1, 2]

    def test_segments_match_however_they_are_written(self, tmp_path):
        def change(content):
            for segment in content["annotations"][0]["segments_info"]:
                segment |= {"id": str(segment["id"]), "category_id": float(segment["category_id"])}
                segment["iscrowd"] = str(segment["iscrowd"])

        plain = disk.segments(open_set(disk.coco_panoptic(tmp_path / "plain"))[0])
        disk.coco_panoptic(tmp_path / "spelt", change)
        assert faults(tmp_path / "spelt") == []
        assert disk.segments(open_set(tmp_path / "spelt")[0]) == plain

    def test_ids_of_annotations_that_are_used_twice(self, tmp_path):
        def change(content):
            for entry in content["annotations"]:
                entry["id"] = 0

        disk.coco_instances(tmp_path, change)
        (fault,) = faults(tmp_path)
        assert fault.kind is FaultKind.SAME_ID
        assert "2 annotations with an id of an earlier one, such as annotations[1]" in fault.text
        assert len(disk.objects(open_set(tmp_path)[0])) == 3, "all are kept"

    def test_doubled_outlines_are_one_object_in_any_form(self, tmp_path):
        def change(content):
            runs = {"size": [disk.HEIGHT, disk.WIDTH], "counts": [26, 3, 9, 3, 151]}
            content["annotations"].append(disk.annotation(1, 9, runs, id=4))
            content["annotations"].append(disk.annotation(1, 3, runs, id=5))

        disk.coco_instances(tmp_path, change)
        (fault,) = faults(tmp_path)
        assert fault.kind is FaultKind.DOUBLED
        assert "annotation 4 of 1.png: it has class and outline of annotation 1" in fault.text
        assert len(disk.objects(open_set(tmp_path)[0])) == 4, "of another class it is another"


class TestFlags:
    @pytest.mark.parametrize(("written", "crowd"), [("0", False), ("1", True), (None, False)])
    def test_iscrowd_as_text(self, tmp_path, written, crowd):
        def change(content):
            content["annotations"][1]["iscrowd"] = written

        disk.coco_instances(tmp_path, change)
        assert faults(tmp_path) == []
        assert disk.objects(open_set(tmp_path)[0])[1].crowd is crowd

    @pytest.mark.parametrize("written", ["yes", 2, [], float("nan")])
    def test_iscrowd_that_says_nothing(self, tmp_path, written):
        def change(content):
            content["annotations"][1]["iscrowd"] = written

        disk.coco_instances(tmp_path, change)
        (fault,) = faults(tmp_path)
        assert fault.kind is FaultKind.BROKEN
        assert "annotation 2 of 1.png: iscrowd is" in fault.text

    @pytest.mark.parametrize("written", ["no", 2, [1]])
    def test_isthing_that_says_nothing(self, tmp_path, written):
        disk.coco_panoptic(tmp_path, lambda c: c["categories"][0].update(isthing=written))
        with pytest.raises(TriptychError, match=r"category .sky. has isthing .*; give 0 or 1"):
            open_set(tmp_path)

    def test_isthing_as_text(self, tmp_path):
        disk.coco_panoptic(tmp_path, lambda c: c["categories"][0].update(isthing="0"))
        assert open_set(tmp_path).classes.is_thing == (False, False, True)

    def test_isthing_is_not_guessed(self, tmp_path):
        disk.coco_panoptic(tmp_path, lambda c: c["categories"][1].pop("isthing"))
        with pytest.raises(
            TriptychError, match=r"'grass' has no 'isthing'.* add 'isthing': 0 or 1"
        ):
            open_set(tmp_path)
        table = tmp_path / "own.yaml"
        text = (
            "layout: coco-panoptic\nimages: val2017\nmaps: annotations/panoptic_val2017\n"
            "annotations: annotations/panoptic_val2017.json\n"
        )
        table.write_text(text + "classes: [sky, grass, car]\n")
        with pytest.raises(TriptychError, match="do not tell whether 'grass' is a thing; say 'thi"):
            open_set(table)
        table.write_text(text + "classes: [sky, {name: grass, thing: false}, car]\n")
        assert open_set(table).classes.is_thing == (False, False, True)


class TestCategories:
    @pytest.mark.parametrize(
        "entry",
        [
            {"id": 50, "name": "car"},  # of the name of another one
            {"id": 50},
            {"id": None, "name": "x"},
            {"name": "x"},
            None,
            "car",
            {"id": 3, "name": "person"},  # again
        ],
    )
    def test_what_no_annotation_uses_refuses_nothing(self, tmp_path, entry):
        disk.coco_instances(tmp_path, lambda content: content["categories"].append(entry))
        assert open_set(tmp_path).classes.names == ("person", "tie", "car")
        assert all("left out" in fault.text for fault in faults(tmp_path))

    def test_a_root_that_groups_the_others(self, tmp_path):
        def change(content):
            for category in content["categories"]:
                category["supercategory"] = "all"
            root = {"id": 0, "name": "all", "supercategory": "none"}
            content["categories"].insert(0, root)

        disk.coco_instances(tmp_path, change)
        assert open_set(tmp_path).classes.names == ("person", "tie", "car")
        (fault,) = faults(tmp_path)
        assert fault.kind is FaultKind.REMARK

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            (lambda c: c[0].update(name="tie"), r"two categories are called 'tie': 3 \(1 annotat"),
            (lambda c: c[0].pop("name"), r"categories\[0\], id 3, has no name, and 1 annotations"),
            (lambda c: c[0].update(id=9.0), r"'person' and 'tie' share the id 9, which 1 annotat"),
            (lambda c: c.clear(), "lists no categories"),
        ],
    )
    def test_what_is_used_must_say_what_it_is(self, tmp_path, change, words):
        disk.coco_instances(tmp_path, lambda content: change(content["categories"]))
        with pytest.raises(TriptychError, match=words):
            open_set(tmp_path)

    @pytest.mark.parametrize("value", ["#a60f2f", "mauve", [0.6, 0.1, 0.2], {}, 7, None])
    def test_colours_refuse_nothing(self, tmp_path, value):
        disk.coco_instances(tmp_path, lambda content: content["categories"][2].update(color=value))
        assert faults(tmp_path) == []
        if value == "#a60f2f":
            assert open_set(tmp_path).classes.colours[2] == (166, 15, 47)


class TestFiles:
    def test_names_of_another_system(self, tmp_path):
        def change(content):
            content["images"][0]["file_name"] = "C:\\pictures\\1.png"
            content["images"][1]["file_name"] = ".\\2.PNG"

        disk.coco_instances(tmp_path, change)
        assert faults(tmp_path) == []
        assert [open_set(tmp_path).name(index) for index in range(2)] == ["1", "2"]

    def test_accents_that_are_taken_apart(self, tmp_path):
        name = unicodedata.normalize("NFD", "é.png")
        disk.coco_instances(tmp_path, lambda c: c["images"][0].update(file_name="é.png"))
        (tmp_path / "val" / "images" / "1.png").rename(tmp_path / "val" / "images" / name)
        assert faults(tmp_path) == []

    def test_labels_and_images_of_two_unicode_forms_are_a_pair(self, tmp_path):
        forms = [unicodedata.normalize(form, "é") for form in ("NFC", "NFD")]
        file = disk.plain(tmp_path, names=(forms[0],))
        label = tmp_path / "labels" / f"{forms[0]}.png"
        label.rename(tmp_path / "labels" / f"{forms[1]}.png")
        assert faults(file) == []

    def test_two_images_never_share_a_file(self, tmp_path):
        """Only one that nobody else looks for is found by the end of its name."""

        def change(content):
            content["images"][0]["file_name"] = "a/1.png"
            content["images"][1]["file_name"] = "b/1.png"

        disk.coco_instances(tmp_path, change)
        assert [fault.kind for fault in faults(tmp_path)] == [FaultKind.MISSING, FaultKind.MISSING]

    @pytest.mark.parametrize("name", [None, "", 7, "gone.png"])
    def test_lvis_names_its_files_by_url(self, tmp_path, name):
        def change(content):
            for image in content["images"]:
                image["coco_url"] = f"http://images.org/val2017/{image.pop('file_name')}"
                image["neg_category_ids"] = []
            if name is not None:
                content["images"][0]["file_name"] = name

        disk.coco_instances(tmp_path, change)
        (remark, *others) = faults(tmp_path)
        assert remark.kind is FaultKind.REMARK
        assert "labels of some classes only" in remark.text
        assert [fault.kind for fault in others] == ([FaultKind.MISSING] if name else [])

    @pytest.mark.parametrize("size", ["12", 12.0, 12])
    def test_sizes_however_written(self, tmp_path, size):
        disk.coco_instances(tmp_path, lambda content: content["images"][0].update(height=size))
        assert faults(tmp_path) == []

    @pytest.mark.parametrize(
        "size", [0, -1, 12.5, None, "tall", True, 10**400, float("inf"), 2**26]
    )
    def test_sizes_that_are_none(self, tmp_path, size):
        def change(content):
            content["images"][1]["height"] = size

        disk.coco_instances(tmp_path, change)
        (fault,) = faults(tmp_path)
        assert fault.kind is FaultKind.BROKEN_ENTRY
        assert "images[1]" in fault.text

    def test_a_set_that_ends_empty_keeps_its_reasons(self, tmp_path):
        def change(content):
            for image in content["images"]:
                del image["height"]

        disk.coco_instances(tmp_path, change)
        with pytest.raises(EmptySetError, match=r"images\[0\] has no height .*\(and 1 more") as got:
            open_set(tmp_path)
        assert len(got.value.faults) == 2


class TestForms:
    @pytest.mark.parametrize(
        "outline",
        [
            [2, 2, 4, 2, 4, 5, 2, 5],
            [[2, 2], [4, 2], [4, 5], [2, 5]],
            [[[2, 2], [4, 2], [4, 5], [2, 5]]],
        ],
    )
    def test_polygons_in_other_lists(self, tmp_path, outline):
        disk.coco_instances(tmp_path, lambda c: c["annotations"][0].update(segmentation=outline))
        (fault,) = faults(tmp_path)
        assert fault.kind is FaultKind.FORM
        assert disk.objects(open_set(tmp_path)[0])[0].mask.sum() == 6

    def test_one_annotation_makes_one_line(self, tmp_path):
        outline = [[1, 1, 30, 1, 5, 5], [1, 1, 5], ["a"], [0, 0, 1, 1]]
        disk.coco_instances(tmp_path, lambda c: c["annotations"][0].update(segmentation=outline))
        (fault,) = faults(tmp_path)
        assert fault.kind is FaultKind.BROKEN
        assert "x without y; a polygon is no list of numbers: it holds 'a'" in fault.text
