"""What the machine can do at most: products of large matrices, copies of large arrays."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from triptych.bench.rounds import now


@dataclass(frozen=True)
class Peaks:
    """The best of several tries, measured, not taken from a data sheet."""

    operations: float
    """Operations a second in a product of square matrices, two a multiplication and addition."""
    bandwidth: float
    """Bytes a second read and written in a copy."""

    def floor(self, operations: int, size: int) -> float:
        """Seconds below which no implementation can do so many operations and move ``size`` bytes.

        The two can go on at the same time, so it is the longer of them.
        """
        return max(operations / self.operations, size / self.bandwidth)


def measure_peaks(
    device: torch.device,
    dtype: torch.dtype,
    *,
    edges: tuple[int, ...] = (1024, 2048),
    megabytes: int = 256,
    tries: int = 7,
) -> Peaks:
    """Measure both on ``device``.

    Args:
        device: with the threads that torch has on the CPU.
        dtype: of the matrices.
        edges: of the matrices; the best counts.
        megabytes: size of the array; more than the caches hold.
        tries: of each; the best counts.
    """
    operations = 0.0
    for edge in edges:
        matrix = torch.randn((edge, edge), dtype=torch.float32, device=device).to(dtype)
        product = torch.empty_like(matrix)
        seconds = min(_once(device, matrix, product) for _ in range(tries))
        operations = max(operations, 2 * edge**3 / seconds)
    source = torch.zeros(megabytes << 20, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    seconds = min(_copied(device, source, target) for _ in range(tries))
    return Peaks(operations, 2 * source.numel() / seconds)


def _once(device: torch.device, matrix: torch.Tensor, product: torch.Tensor) -> float:
    began = now(device)
    torch.mm(matrix, matrix, out=product)
    return now(device) - began


def _copied(device: torch.device, source: torch.Tensor, target: torch.Tensor) -> float:
    began = now(device)
    target.copy_(source)
    return now(device) - began
