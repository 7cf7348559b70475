"""How much memory a piece of work needs: of the process on the CPU, of the device elsewhere."""

from __future__ import annotations

import ctypes
import gc
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def resident(field: str = "VmRSS") -> int | None:
    """Bytes of this process in memory now (VmRSS) or at most (VmHWM); None where no one tells.

    Not ``getrusage``: its maximum begins with what the parent process had.
    """
    try:
        found = re.search(rf"{field}:\s+(\d+) kB", _STATUS.read_text())
    except OSError:  # not Linux
        return None
    return int(found[1]) * 1024 if found else None


def reset_peak() -> bool:
    """Let VmHWM begin anew; False where the system does not allow it."""
    try:
        _RESET.write_text("5")
    except OSError:
        return False
    return True


def give_back() -> None:
    """Hand memory that was freed back to the system, so that using it again is seen."""
    gc.collect()
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (AttributeError, OSError, TypeError):  # another C library than glibc
        return


class Peak:
    """The most memory in use since :meth:`begin` beyond what was in use then."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._before: int | None = None

    def begin(self) -> None:
        """Count from here."""
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
            torch.cuda.reset_peak_memory_stats(self._device)
            self._before = torch.cuda.memory_allocated(self._device)
            return
        give_back()
        self._before = resident() if self._device.type == "cpu" and reset_peak() else None

    def bytes(self) -> int | None:
        """None where it cannot be told."""
        if self._before is None:
            return None
        if self._device.type == "cuda":
            return torch.cuda.max_memory_allocated(self._device) - self._before
        highest = resident("VmHWM")
        return None if highest is None else max(highest - self._before, 0)

    def of(self, work: Callable[[], Any]) -> int | None:
        """What ``work`` needs, its result included."""
        self.begin()
        result = work()
        needed = self.bytes()
        del result
        return needed
