from __future__ import annotations

import os
from pathlib import Path

import pytest

from triptych.errors import TriptychError
from triptych.image.find import find_images


@pytest.fixture
def tree(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in (
        "photos/b.jpg",
        "photos/a.PNG",
        "photos/notes.txt",
        "photos/.hidden.jpg",
        "photos/.cache/c.jpg",
        "photos/deep/er/a.jpg",
        "photos/out/b.semantic.png",
        "photos/out/b.panoptic.png",
        "photos/out/b.overlay.png",
        "photos/out/b.json",
        "other/a.png",
        "empty/readme.md",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path


def names(*inputs: str) -> list[str]:
    sources, problems = find_images(inputs)
    assert problems == []
    return [str(source.name) for source in sources]


def test_a_file_is_taken_whatever_it_is_called(tree):
    assert names("photos/notes.txt", "photos/b.jpg", "photos/.hidden.jpg") == [
        "notes",
        "b",
        ".hidden",
    ]
    assert names("gone.jpg") == ["gone"]  # opening it will tell
    assert find_images(["photos/b.jpg"])[0][0].path == Path("photos/b.jpg")


def test_a_folder_is_searched_below_and_results_are_left_out(tree):
    assert names("photos") == ["a", "b", "deep/er/a"]
    assert names("photos/") == names("./photos") == names(str(tree / "photos")) == names("photos")


def test_numbers_in_names_count(tree):
    for name in ("10", "9", "1", "01", "2b", "2a", "page 11/2", "page 2/1"):
        path = tree / "frames" / f"{name}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    wanted = ["01", "1", "2a", "2b", "9", "10", "page 2/1", "page 11/2"]
    assert names("frames") == wanted
    assert names("frames/*") == wanted
    assert names("frames/*.jpg") == wanted[:6]


def test_a_linked_folder_is_not_followed_round_in_circles(tree):
    os.symlink(tree / "photos", tree / "photos/deep/loop")
    assert names("photos") == ["a", "b", "deep/er/a"]


def test_patterns_are_named_from_their_first_wildcard(tree):
    assert names("photos/*.jpg") == ["b"]
    assert names("photos/*") == ["a", "b", "deep/er/a"]
    assert names("photos/**/*.jpg") == ["b", "deep/er/a"]
    assert names("*/a.*") == ["other/a", "photos/a"]
    assert names("photos/[ab].*") == ["a", "b"]
    assert names(str(tree / "photos" / "deep" / "*" / "a.jpg")) == ["er/a"]


def test_a_name_with_brackets_that_exists_is_a_file(tree):
    (tree / "photo[1].jpg").touch()
    assert names("photo[1].jpg") == ["photo[1]"]


def test_one_image_by_two_ways_is_done_once(tree):
    assert names("photos", "photos/b.jpg", "./photos/*.jpg") == ["a", "b", "deep/er/a"]


def test_suffixes_stay_where_they_make_the_difference(tree):
    (tree / "photos/b.png").touch()
    assert names("photos") == ["a", "b.jpg", "b.png", "deep/er/a"]
    # The third would be called like the first.
    (tree / "photos/b.jpg.png").touch()
    with pytest.raises(TriptychError, match=r"b\.jpg and .*b\.jpg\.png would both be written"):
        names("photos")


def test_equal_names_of_different_folders_are_refused_and_both_named(tree):
    with pytest.raises(TriptychError) as caught:
        find_images(["photos/a.PNG", "other/a.PNG"])
    assert "photos/a.PNG and other/a.PNG would both" in str(caught.value)
    with pytest.raises(TriptychError, match="give the folder that holds both"):
        find_images(["photos/deep/er", "photos/deep/er/../../a.jpg"])
    assert names(".") == ["other/a", "photos/a", "photos/b", "photos/deep/er/a"]


def test_inputs_without_images_are_named_and_the_rest_is_found(tree):
    sources, problems = find_images(["empty", "photos", "*.webp", ""])
    assert len(sources) == 3
    assert [line.split(":")[0] for line in problems] == ["'empty'", "'*.webp'", "''"]
    assert ".jpeg" in problems[0]


def test_a_folder_that_cannot_be_searched_is_named_and_the_rest_is_found(tree, monkeypatch):
    scandir = os.scandir

    def guarded(path):
        if Path(path).name == "deep":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", guarded)
    sources, problems = find_images(["photos"])
    assert [str(s.name) for s in sources] == ["a", "b"]
    assert problems == ["photos/deep: cannot be searched (Permission denied)"]
