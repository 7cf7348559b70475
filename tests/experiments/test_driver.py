"""What the experiments share: results that are kept, intervals, drawings."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from experiments.driver import Study, differences, interval, table, told
from experiments.plot import Line, draw

from triptych.errors import TriptychError


def study(folder: Path, *options: str) -> Study:
    where = ["--results", str(folder / "r.json"), "--out", str(folder / "runs")]
    return Study.from_command("any", "about", [*where, *options])


def test_runs_that_are_known_are_not_done_again(tmp_path: Path) -> None:
    done: list[tuple[str, int]] = []

    def run(variant: str, seed: int) -> dict[str, float]:
        done.append((variant, seed))
        if len(done) == 4:
            raise KeyboardInterrupt
        return {"value": seed + (variant == "b") / 2}

    with pytest.raises(KeyboardInterrupt):
        study(tmp_path).measure(["a", "b"], run)
    # Seed by seed, so that what is there can be compared.
    assert done == [("a", 0), ("b", 0), ("a", 1), ("b", 1)]
    runs = study(tmp_path).measure(["a", "b"], run)
    assert done[4:] == [("b", 1), ("a", 2), ("b", 2)]
    assert differences(runs, "b", "a", "value") == [0.5, 0.5, 0.5]
    assert len(study(tmp_path, "--seeds", "1").measure(["a", "b"], run)) == 2


def test_two_commands_share_the_runs(tmp_path: Path) -> None:
    """One is started while the other is at its first run: neither does what the other does."""
    script = (
        "from pathlib import Path\n"
        "from tests.experiments.test_driver import study\n"
        f"shared = study(Path({str(tmp_path)!r}), '--seeds', '2')\n"
        "runs = shared.measure(['a', 'b'], lambda variant, seed: {'by': 2})\n"
        "print([(one['variant'], one['seed'], one['by']) for one in runs])\n"
    )
    told = []

    def run(variant: str, seed: int) -> dict[str, float]:
        if (variant, seed) == ("a", 0):
            other = [sys.executable, "-c", script]
            told.append(subprocess.run(other, capture_output=True, text=True, check=True).stdout)
        return {"by": 1}

    runs = study(tmp_path, "--seeds", "2").measure(["a", "b"], run)
    assert told[0].splitlines()[-1] == "[('b', 0, 2), ('a', 1, 2), ('b', 1, 2)]"
    assert sorted((one["variant"], one["seed"], one["by"]) for one in runs) == [
        ("a", 0, 1),
        ("a", 1, 2),
        ("b", 0, 2),
        ("b", 1, 2),
    ]


def test_results_of_other_settings_are_not_mixed(tmp_path: Path) -> None:
    study(tmp_path).measure(["a"], lambda variant, seed: {"value": 1.0})
    other = study(tmp_path, "--override", "optimisation.steps=3")
    with pytest.raises(TriptychError, match="made with the overrides"):
        other.measure(["a"], lambda variant, seed: {"value": 2.0})
    assert json.loads((tmp_path / "r.json").read_text())["runs"][0]["value"] == 1.0


def test_an_interval_is_that_of_student() -> None:
    mean, half = interval([1.0, 2.0, 3.0])
    assert mean == 2.0
    assert half == pytest.approx(4.302653 / math.sqrt(3), abs=1e-5)
    assert math.isnan(interval([1.0])[1])
    assert told([0.1, 0.2]) == "15.0 ± 63.5"
    assert table(["a"], [["b"]]) == "| a |\n| --- |\n| b |"


def test_a_drawing_keeps_its_lines_inside() -> None:
    lines = [Line("a & b", [0, 5, 10], [0, 41.3, 20], [math.nan, 7, 1]), Line("c", [0], [3], [9])]
    root = ElementTree.fromstring(draw("title", "steps", lines, [0, 10]))
    name = "{http://www.w3.org/2000/svg}"
    assert {"a & b", "c", "title", "steps"} <= {e.text for e in root.iter(f"{name}text")}
    dots = [(float(e.attrib["cx"]), float(e.attrib["cy"])) for e in root.iter(f"{name}circle")]
    assert len(dots) == 4
    assert all(60 <= x <= 550 and 34 <= y <= 294 for x, y in dots)
    assert dots[1][1] < dots[2][1] < dots[0][1]  # the larger the higher
