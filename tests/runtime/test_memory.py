"""A training keeps freed memory, and whoever has decided otherwise goes before."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from triptych.runtime import memory

PLAIN = {name: value for name, value in os.environ.items() if name not in memory.OWN}

GLIBC = sys.platform.startswith("linux") and os.confstr("CS_GNU_LIBC_VERSION") is not None


def told(program: str, **own: str) -> str:
    """What a program prints, with other settings in its environment."""
    command = [sys.executable, "-c", program]
    run = subprocess.run(command, env=PLAIN | own, capture_output=True, text=True, check=True)
    return run.stdout.strip()


ASK = "from triptych.runtime.memory import keep_freed_memory; print(keep_freed_memory())"


@pytest.mark.skipif(not GLIBC, reason="no glibc here")
def test_it_is_done_once_before_torch() -> None:
    assert told(ASK) == "True"
    assert told("import torch; " + ASK) == "False"
    assert told(ASK + "; import torch; print(keep_freed_memory())").split() == ["True", "False"]


@pytest.mark.skipif(not GLIBC, reason="no glibc here")
@pytest.mark.parametrize(("arguments", "done"), [(["train", "gone.yaml"], "1"), (["models"], "")])
def test_the_command_train_does_so(arguments: list[str], done: str) -> None:
    program = (
        f"import os; from triptych.commands.cli import main; main({arguments});"
        "print('set:', os.environ.get('THP_MEM_ALLOC_ENABLE', ''))"
    )
    assert told(program).splitlines()[-1] == f"set: {done}".strip()


@pytest.mark.parametrize("name", [name for name in memory.OWN if name != "LD_PRELOAD"])
def test_the_users_own_setting_goes_before(name: str) -> None:
    value = "glibc.malloc.perturb=0" if name == "GLIBC_TUNABLES" else "0"
    assert told(ASK, **{name: value}) == "False"


@pytest.mark.skipif(not GLIBC, reason="no glibc here")
def test_freed_memory_is_found_again() -> None:
    """Pages that the system hands out are counted: without it, every turn takes new ones."""
    program = (
        "{ask}import resource, torch\n"
        "torch.set_num_threads(1)\n"
        "def faults(): return resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "for turn in range(12):\n"
        "    if turn == 2: before = faults()\n"
        "    x = torch.ones(12, 1 << 20); y = x + 1; del x, y\n"
        "print(faults() - before)"
    )
    usual = int(told(program.format(ask="")))
    kept = int(told(program.format(ask=ASK.replace("print", "assert ") + "\n")))
    assert kept < usual / 10


def test_the_library_leaves_the_process_alone() -> None:
    program = "import os, triptych; triptych.load; print('THP_MEM_ALLOC_ENABLE' in os.environ)"
    assert told(program) == "False"
