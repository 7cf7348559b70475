"""The command line: what it answers to good and bad arguments, to Ctrl-C and to a closed pipe."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.tiny_model import tiny_segformer

import triptych
from triptych.commands.cli import main
from triptych.commands.console import one_line
from triptych.readings.settings import ReadingSettings

ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "error"}


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("cli") / "model"
    tiny_segformer().save(folder)
    return str(folder)


@pytest.fixture
def photos(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "photos"
    folder.mkdir()
    for index in range(3):
        pixels = np.random.default_rng(index).integers(0, 256, (32, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{index}.jpg")
    return folder


def python(*arguments: str, **settings) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, env=ENVIRONMENT, **settings
    )


class TestStart:
    def test_import_and_help_and_version_import_nothing_heavy(self):
        heavy = "{'torch', 'numpy', 'PIL', 'scipy', 'hotcoco', 'rich', 'safetensors'}"
        for line in (
            "import triptych",
            "from triptych.commands.cli import main; main(['--version'])",
            "from triptych.commands.registry import parse; parse(['predict', 'x.jpg'])",
        ):
            answer = python("-c", f"import sys; {line}; print(sorted({heavy} & set(sys.modules)))")
            assert answer.stderr == ""
            assert answer.stdout.splitlines()[-1] == "[]", line

    def test_version(self, capsys):
        assert main(["--version"]) == 0
        assert capsys.readouterr().out == f"triptych {triptych.__version__}\n"

    @pytest.mark.parametrize("command", [[], ["demo"], ["predict"], ["train"], ["models"]])
    def test_help(self, command, capsys):
        with pytest.raises(SystemExit) as end:
            main([*command, "--help"])
        assert not end.value.code
        told = capsys.readouterr()
        assert "usage: triptych" in told.out
        assert told.err == ""

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            ([], "Expected one of {demo, predict, "),
            (["predikt", "x"], "Unrecognized options: predikt, x"),
            (["predict", "x", "--modle", "y"], "--modle, y (perhaps you meant --model)"),
            (["predict", "x", "--top", "many"], "--top is 'many'; give a whole number; see"),
            (["predict", "x", "--overlap", "high"], "--overlap is 'high'; give a number; see"),
            (["serve", "x", "--port", "1.5"], "--port is '1.5'; give a whole number; see triptych"),
            (["serve", "x", "--port", "70000"], "port is 70000; give 1 to 65535"),
            (["bogus"], "no command is called 'bogus', there are demo, predict, serve"),
            (["predikt", "x"], "no command is called 'predikt', did you mean predict; see"),
            (
                ["serve", "demo", "--no-open"],
                "--no-open is an option of triptych demo, not of triptych serve; see",
            ),
            (
                ["predict", "x", "--nope"],
                "Unrecognized options: --nope; see triptych predict --help",
            ),
            (["predict", "x", "--precision", "fp8"], "'fp8' for argument '--precision'"),
            (["predict", "x", "--out"], "--out"),
            (["predict"], "no images given; see triptych predict --help"),
            (["train"], "RECIPE.yaml, or --model and --data; see triptych train --help"),
            (["train", "--model", "street"], "RECIPE.yaml, or --model and --data"),
            (["train", "a.yaml", "--epochs", "3"], "--epochs goes without a recipe"),
            (["train", "--model", "street", "--data", "gone"], "no data set gone"),
            (["train", "gone.yaml"], "gone.yaml"),
            (["models", "street"], "street"),
        ],
    )
    def test_bad_arguments_end_in_one_line(self, arguments, words, capsys):
        assert main(arguments) == 2
        told = capsys.readouterr()
        assert told.out == ""
        assert told.err.startswith("triptych: ")
        assert told.err.count("\n") == 1
        assert words in told.err

    @pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
    def test_what_tyro_says_is_cut_down(self, encoding, capsys, monkeypatch):
        for columns in ("40", "300"):
            monkeypatch.setenv("COLUMNS", columns)
            monkeypatch.setattr(type(sys.stdout), "encoding", encoding)
            assert main(["predict", "x", "--precision", "fp8"]) == 2
            told = capsys.readouterr().err
            assert told.count("\n") == 1
            assert "invalid choice 'fp8'" in told
            assert not set("│╭╮╰╯─") & set(told)

    def test_file_names_cannot_break_the_line(self):
        assert one_line("a\nb\x1b[31mc\udcffd é") == "a\\nb\\x1b[31mc\\udcffd é"


class TestPredict:
    def test_a_folder(self, photos, model, capsys):
        assert main(["predict", "photos", "--model", model, "--out", "results"]) == 0
        told = capsys.readouterr()
        assert told.err == ""
        assert told.out.startswith("3 images done in ")
        assert told.out.endswith("; results in results\n")
        assert len(list(Path("results").iterdir())) == 12
        assert main(["predict", "photos/*.jpg", "--model", model, "--out", "results"]) == 0
        told = capsys.readouterr()
        assert "0 images done" in told.out
        assert "3 skipped that were finished before" in told.out
        again = ["predict", "photos", "--model", model, "--out", "results", "--overlap", "0.1"]
        assert main(again) == 0
        assert "3 of them with another model or settings" in capsys.readouterr().out
        assert main([*again, "--overwrite", "--batch-size", "2", "--precision", "bf16"]) == 0
        assert "3 images done" in capsys.readouterr().out

    def test_overlap_is_the_checkpoints_unless_it_is_given(self, photos, model, tmp_path):
        lenient = tmp_path / "lenient"
        tiny = tiny_segformer()
        tiny.readings = ReadingSettings(overlap=0.6)
        tiny.save(lenient)
        for name, options, overlap in [
            (model, [], 0.8),
            (str(lenient), [], 0.6),
            (str(lenient), ["--overlap", "0.8"], 0.8),
        ]:
            command = ["predict", "photos", "--model", name, "--out", "results", *options]
            assert main([*command, "--overwrite"]) == 0
            found = json.loads(Path("results/0.json").read_text())
            assert found["settings"]["overlap"] == overlap

    def test_bad_inputs_are_named_and_the_rest_is_done(self, photos, model, capsys):
        (photos / "1a.jpg").write_text("no image")
        Path("empty").mkdir()
        inputs = ["photos", "empty", "gone.jpg", "*.webp"]
        assert main(["predict", *inputs, "--model", model, "--out", "results"]) == 2
        told = capsys.readouterr()
        lines = told.err.splitlines()
        assert len(lines) == 4
        assert "'empty': no images here" in lines[0]
        assert "'*.webp': no images here" in lines[1]
        assert "photos/1a.jpg: is a text file, not an image" in lines[2]
        assert "gone.jpg: no such file" in lines[3]
        assert told.out.startswith("3 images done")
        assert "2 failed" in told.out
        assert len(list(Path("results").glob("*.json"))) == 3

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (["empty"], "no images here"),
            (["photos", "--model", "nobody/knows"], "no model 'nobody/knows'"),
            (["photos", "--model", "photos"], "holds no config.json"),
            (["photos", "--device", "gpu"], "no device 'gpu'"),
            (["photos", "--overlap", "7"], "overlap is 7.0"),
            (["photos", "--top", "0"], "top is 0"),
            (["photos", "--batch-size", "0"], "batch_size is 0"),
            (["photos", "--out", "photos/0.jpg"], "cannot write into photos/0.jpg"),
            (["photos/0.jpg", "other/0.jpg"], "would both be written as 0.jpg.*"),
        ],
    )
    def test_mistakes_end_in_one_line(self, arguments, words, photos, model, capsys):
        Path("empty").mkdir()
        if "--model" not in arguments:
            arguments = [*arguments, "--model", model]
        assert main(["predict", *arguments]) == 2
        told = capsys.readouterr()
        assert told.out == ""
        assert told.err.count("\n") == 1
        assert words in told.err

    def test_damaged_files_bring_no_warnings_of_pillow(self, photos, model, capfd):
        Image.new("RGB", (64, 64), "red").save(photos / "x.tif", compression="tiff_lzw")
        data = bytearray((photos / "x.tif").read_bytes())
        data[-40:-20] = b"\xff" * 20
        (photos / "x.tif").write_bytes(data)
        (photos / "y.tif").write_bytes(data[: len(data) // 2])
        with pytest.warns(UserWarning, match="Skipping tag"), Image.open(photos / "x.tif"):
            pass
        with warnings.catch_warnings():  # of the command's own filter
            assert main(["predict", "photos", "--model", model]) == 2
        told = capfd.readouterr()
        # What libtiff itself writes to the file descriptor cannot be helped.
        ours = [line for line in told.err.splitlines() if not line.startswith("TIFF")]
        assert len(ours) == 2
        assert all(line.startswith("triptych: photos/") for line in ours)
        assert told.out.startswith("3 images done")

    def test_ctrl_c_keeps_what_is_finished(self, photos, model):
        for index in range(3, 100):
            Image.new("RGB", (40, 32)).save(photos / f"{index}.jpg")
        command = [sys.executable, "-m", "triptych", "predict", "photos", "--model", model]
        process = subprocess.Popen(
            command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        while process.poll() is None and len(list(Path("out").glob("[!.]*.json"))) < 2:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        told, errors = process.communicate()
        finished = list(Path("out").glob("[!.]*.json"))
        assert process.returncode == 130
        assert told == ""
        assert errors.count("\n") == 1
        assert 2 <= len(finished) < 100
        done = int(errors.removeprefix("triptych: interrupted; ").split()[0])
        assert done in (len(finished), len(finished) - 1)  # the last may be untold

    def test_a_terminal_gets_a_bar_and_the_same_lines(self, photos, model, capsys, monkeypatch):
        (photos / "1a.jpg").write_text("no image")
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setenv("COLUMNS", "200")
        monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
        assert main(["predict", "photos", "--model", model]) == 2
        told = capsys.readouterr()
        assert "4/4" in told.err
        assert "images/s" in told.err
        assert "photos/1a.jpg: is a text file, not an image" in told.err
        assert told.out.startswith("3 images done")


def test_an_interrupt_anywhere_else_is_one_line_too(capsys, monkeypatch):
    def interrupted(_):
        raise KeyboardInterrupt

    monkeypatch.setattr("triptych.commands.registry.parse", interrupted)
    assert main(["models"]) == 130
    assert capsys.readouterr().err == "triptych: interrupted\n"


@pytest.mark.parametrize("command", ["--help", "--version"])
def test_a_reader_that_goes_away_is_no_error(command):
    read, write = os.pipe()
    os.close(read)
    answer = subprocess.run(
        [sys.executable, "-m", "triptych", command],
        stdout=write,
        stderr=subprocess.PIPE,
        env=ENVIRONMENT,
    )
    os.close(write)
    assert answer.stderr == b""
    assert answer.returncode == 141


def test_demo_tells_where_its_pictures_are(monkeypatch, capsys, tmp_path):
    import triptych.commands.pictures

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        triptych.commands.pictures, "run_demo", lambda out, model: out / f"{model}.png"
    )
    assert main(["demo", "--pictures", "--out", "pictures", "--model", "m"]) == 0
    assert capsys.readouterr().out == f"The picture: {tmp_path}/pictures/m.png\n"


def test_train_passes_its_arguments_on(monkeypatch, capsys):
    import triptych.train.runs

    seen: list[tuple] = []
    monkeypatch.setattr(triptych.train.runs, "train_recipe", lambda *a: seen.append(a))
    assert main(["train", "a.yaml"]) == 0
    assert (
        main(
            [
                "train",
                "a.yaml",
                "--out",
                "o",
                "--resume",
                "auto",
                "--override",
                "x=1",
                "--override",
                "y.z=2",
            ]
        )
        == 0
    )
    assert seen == [
        (Path("a.yaml"), None, [], False),
        (Path("a.yaml"), Path("o"), ["x=1", "y.z=2"], True),
    ]


def test_train_by_defaults_passes_its_arguments_on(monkeypatch):
    import triptych.train.runs

    seen: list[tuple] = []
    monkeypatch.setattr(
        triptych.train.runs, "train_by_defaults", lambda *a, **k: seen.append((*a, k))
    )
    words = "train --model street --data d --epochs 3 --out o --override x=1 --resume auto"
    assert main(words.split()) == 0
    given = {"epochs": 3, "steps": None, "semantic_loss": None}
    assert seen == [("street", Path("d"), Path("o"), ["x=1"], True, given)]
