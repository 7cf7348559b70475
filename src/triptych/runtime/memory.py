"""How freed memory is kept: in the process and in huge pages, so that the next tensor finds it.

A training step allocates and frees the same hundreds of megabytes over and over. By default glibc
gives every block of more than 32 MB back to the system, and often smaller ones; the system clears
the next one page by page, 4 kB at a time. Kept blocks cost nothing to reuse, and pages of 2 MB take
far fewer misses of the processor's address cache. In use a network finds its memory again anyhow.

Only for Linux with glibc; elsewhere nothing changes. Imports nothing heavy.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Mapping

SETTINGS: Mapping[str, str] = {
    # PyTorch then asks for huge pages wherever a tensor has more than 2 MB. It reads this once.
    "THP_MEM_ALLOC_ENABLE": "1",
}
"""What :func:`keep_freed_memory` sets in the environment."""

OWN = (
    *SETTINGS,
    "GLIBC_TUNABLES",
    "MALLOC_MMAP_THRESHOLD_",
    "MALLOC_TRIM_THRESHOLD_",
    "MALLOC_TOP_PAD_",
    "LD_PRELOAD",
)
"""With one of these a user, or an administrator, has decided how memory is handled."""

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Parameters of ``mallopt``, from ``malloc.h``."""

LARGE = 256 << 20
"""Bytes from which a block goes back to the system all the same: an image of that size passes."""
KEPT = 1 << 30
"""Free bytes that the process keeps at most at the end of its heap."""


def keep_freed_memory() -> bool:
    """Let freed memory stay in the process; call it before torch is imported.

    ``triptych train`` does so. The library does not, since a process is its user's.

    Returns:
        Whether it did: not if one of :data:`OWN` is set, torch is imported already, or there is no
        glibc.
    """
    if "torch" in sys.modules or any(name in os.environ for name in OWN):
        return False
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None or not (
        mallopt(M_MMAP_THRESHOLD, LARGE) and mallopt(M_TRIM_THRESHOLD, KEPT)
    ):
        return False
    os.environ.update(SETTINGS)
    return True
