"""``triptych models``: the table, its filters, and that it costs no import of torch."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from triptych.checkpoints.catalogue import catalogue
from triptych.checkpoints.listing import as_json, select, table
from triptych.commands.cli import main
from triptych.errors import TriptychError

SWIN_T = "facebook/mask2former-swin-tiny-cityscapes-panoptic"


def test_the_table_tells_name_size_task_score_source_and_licence():
    lines = table(catalogue()).splitlines()
    (row,) = [line for line in lines if line.startswith(SWIN_T)]
    told = ["mask2former", "Swin-T", "panoptic", "Cityscapes", "19", "47.4", "M", "PQ", "63.9"]
    assert row.split() == [SWIN_T, *told, "[4]"]
    (note,) = [line for line in lines if line.startswith("[4]")]
    assert "facebookresearch/Mask2Former/blob/main/MODEL_ZOO.md" in note
    assert note.endswith("licence of the weights: CC BY-NC 4.0")
    assert lines[1].startswith("street ")
    assert "Bundled: street. The others are fetched from the Hugging Face hub" in "\n".join(lines)
    assert any(line.startswith("Backbones: ") and "swin_tiny" in line for line in lines)


def test_columns_are_aligned_and_unknown_figures_are_dashes():
    lines = table(select(task="instance")).splitlines()
    rows = lines[1 : lines.index("")]
    column = lines[0].index("task")
    assert {row[column - 2 : column + 10] for row in rows} == {"  instance  "}
    (row,) = [line for line in lines if "resnet-50" in line]
    assert row.split()[-2:] == ["-", "-"]


def test_sources_are_numbered_as_they_appear():
    lines = table(select(family="maskformer")).splitlines()
    assert [line[:3] for line in lines if line.startswith("[")] == ["[1]"]
    assert all(line.endswith(" [1]") for line in lines if line.startswith("facebook/"))


def test_nothing_chosen_is_said():
    assert table(select(family="segformer", task="panoptic")).startswith("none\n")


def test_filters_can_be_joined():
    everything = catalogue()
    assert select() == everything
    chosen = select("mask2former", "panoptic", "cityscapes")
    assert chosen == tuple(
        entry
        for entry in everything
        if (entry.family, entry.task, entry.data) == ("mask2former", "panoptic", "Cityscapes")
    )
    assert len(chosen) == 4
    assert {entry.data for entry in select(data="coco")} > {"COCO", "COCO-Stuff-10K"}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"family": "yolo"}, "no family is called 'yolo'; choose from mask2former, maskformer"),
        ({"data": "kitti"}, "for 'kitti'; choose from CamVid"),
    ],
)
def test_unknown_filters_are_refused(settings, words):
    with pytest.raises(TriptychError, match=words):
        select(**settings)


def test_json_holds_every_fact():
    entries = json.loads(as_json(select("mask2former")))
    (entry,) = [e for e in entries if e["name"] == SWIN_T]
    assert entry["parameters"] == 47.4
    assert entry["queries"] == 100
    assert entry["source"]["licence"] == "CC BY-NC 4.0"
    assert [e["name"] for e in entries if e["bundled"]] == ["street"]


def test_the_command(capsys):
    assert main(["models", "--family", "mask2former", "--task", "panoptic", "--data", "ade"]) == 0
    told = capsys.readouterr().out
    assert told.splitlines()[1].startswith("facebook/mask2former-swin-large-ade-panoptic ")
    assert main(["models", "--json", "--data", "Vistas"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 2
    assert main(["models", "--task", "depth"]) == 2
    assert "invalid choice 'depth'" in capsys.readouterr().err


def test_listing_imports_nothing_heavy():
    script = (
        "import sys; from triptych.commands.cli import main; main(['models'])\n"
        "print(sorted({'torch', 'numpy', 'huggingface_hub'} & set(sys.modules)))"
    )
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert answer.stderr == ""
    assert answer.stdout.splitlines()[-1] == "[]"
