"""What every test shares: nothing left to chance, one thread, the optional folder of images."""

from __future__ import annotations

import os
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import settings

# Before huggingface_hub reads it: no test may reach for the real hub.
os.environ["HF_HUB_OFFLINE"] = "1"

ROOT = Path(__file__).resolve().parents[1]

# The same examples in every run, and no verdict by the clock of a busy machine.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    # Test tensors are small: a thread pool costs more than it gives, and one thread makes
    # floating-point sums repeatable. OMP_NUM_THREADS overrides.
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))


@pytest.fixture(autouse=True)
def _seeded() -> None:
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real images with ground truth; the test is skipped where it is absent."""
    named = os.environ.get("TRIPTYCH_DATA")
    folder = Path(named) if named else ROOT.parent / "shared" / "data"
    if not (folder / "camvid").is_dir():
        pytest.skip(f"no data in {folder} (set TRIPTYCH_DATA to the folder that holds camvid/)")
    return folder


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node, error) -> None:
    """Tell how a worker of pytest-xdist ended that has died: it cannot do so itself."""
    if error:
        code = node.gateway._io.popen.wait(10)
        print(f"\nthe process of {node.gateway.id} ended with {code} (-N is signal N)")
