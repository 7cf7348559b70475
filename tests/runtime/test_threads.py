"""The command line lets threads sleep where they wait, and the user's own setting goes before."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from tests.tiny_model import tiny_segformer

from triptych.commands.cli import main
from triptych.runtime import threads

PLAIN = {name: value for name, value in os.environ.items() if name not in threads.OWN}

WHEN_TORCH_LOADS = f"""
import json, os, runpy, sys
class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            found = {{name: os.environ[name] for name in {threads.OWN} if name in os.environ}}
            print(json.dumps(found), flush=True)
            os._exit(0)
sys.meta_path.insert(0, Watch())
"""
"""Tells the settings in the environment at the moment at which torch is imported, and ends."""


def at_torchs_import(program: str, **own: str) -> dict[str, str]:
    """What of the settings is there when a program imports torch."""
    answer = subprocess.run(
        [sys.executable, "-c", WHEN_TORCH_LOADS + program],
        env=PLAIN | own,
        capture_output=True,
        text=True,
    )
    found: dict[str, str] = json.loads(answer.stdout)
    return found


PREDICT = "sys.argv = ['triptych', 'predict', 'gone.jpg', '--model', {!r}]\n"
AS_MODULE = PREDICT + "runpy.run_module('triptych', run_name='__main__')"
AS_SCRIPT = PREDICT + "from triptych.commands.cli import main; sys.exit(main())"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("threads") / "model"
    tiny_segformer().save(folder)
    return str(folder)


@pytest.mark.parametrize("program", [AS_MODULE, AS_SCRIPT])
def test_the_command_sets_the_policy_before_torch_is_there(program: str, model: str) -> None:
    assert at_torchs_import(program.format(model)) == dict(threads.SETTINGS)


@pytest.mark.parametrize("name", threads.OWN)
def test_the_users_own_setting_goes_before(name: str, model: str) -> None:
    assert at_torchs_import(AS_SCRIPT.format(model), **{name: "7"}) == {name: "7"}


def test_the_library_leaves_the_environment_alone() -> None:
    assert at_torchs_import("import triptych; triptych.load") == {}


def test_the_library_can_ask_for_it() -> None:
    program = "from triptych.runtime.threads import share_cores; assert share_cores(); import torch"
    assert at_torchs_import(program) == dict(threads.SETTINGS)


def test_it_comes_too_late_once_torch_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in threads.OWN:
        monkeypatch.delenv(name, raising=False)
    assert "torch" in sys.modules
    assert not threads.share_cores()
    assert main(["--version"]) == 0
    assert not set(threads.OWN) & set(os.environ)
