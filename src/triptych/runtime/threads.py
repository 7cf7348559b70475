"""How PyTorch's idle threads wait: asleep soon, so that a busy program beside it gets the cores.

PyTorch computes with OpenMP. Between two parallel loops, and at the end of each, threads wait for
one another, and by default they spin: GCC's runtime (libgomp, which PyTorch's wheels for Linux
bring) for some milliseconds, LLVM's and Intel's for 200 ms. On a core of its own that saves the few
microseconds of falling asleep. Where another program wants the core, the thread that has the work
waits behind it while the others spin. ``benchmarks/busy.py`` measures it.

The runtime reads these settings once, when PyTorch is loaded, so they are environment variables.
Imports nothing.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

SETTINGS: Mapping[str, str] = {
    # The standard's name, for every runtime.
    "OMP_WAIT_POLICY": "PASSIVE",
    # libgomp's own goes before: about 10 microseconds, which bridge loops that follow closely.
    "GOMP_SPINCOUNT": "1000",
}
"""What :func:`share_cores` sets."""

OWN = (*SETTINGS, "KMP_BLOCKTIME", "KMP_LIBRARY")
"""With one of these a user, or an administrator, has decided how threads wait."""


def share_cores() -> bool:
    """Let PyTorch's threads fall asleep where they wait; call it before torch is imported.

    The command line does so. The library does not, since the environment is its user's. Programs
    that this one starts inherit the settings.

    Returns:
        Whether it did: not if one of :data:`OWN` is set, nor if torch is imported already, when
        it would have no effect.
    """
    if "torch" in sys.modules or any(name in os.environ for name in OWN):
        return False
    os.environ.update(SETTINGS)
    return True
