"""OpenVINO leaves the process as it found it."""

from __future__ import annotations

import subprocess
import sys

from tests.engines.test_engines import needs

from triptych.engines.openvino import shared_core

PROGRAM = """
import faulthandler, gc, signal
faulthandler.enable()  # as pytest does: signal handlers have a stack of their own
import torch
from triptych.engines.registry import make_engine
from triptych.networks.models.registry import build
small = {"channels": [8] * 4, "depths": [1] * 4, "heads": [1] * 4}
model = build("segformer", classes=2, **small).eval()
engines = [make_engine("openvino", model) for _ in range(2)]
for engine in engines:
    engine(torch.zeros(1, 3, 32, 32))
del engine
while engines:
    engines.pop(0)
    gc.collect()
told = []
signal.signal(signal.SIGINT, lambda *given: told.append(given))
signal.raise_signal(signal.SIGINT)
print("told", len(told))
"""


def test_signals_arrive_after_engines_are_let_go() -> None:
    needs("openvino")
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "told 1\n"), done.stderr


def test_there_is_one_core() -> None:
    needs("openvino")
    assert shared_core() is shared_core()
