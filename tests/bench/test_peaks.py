"""The floor, and that the machine's rates are of the right order."""

from __future__ import annotations

import torch

from triptych.bench.peaks import Peaks, measure_peaks


def test_the_floor_is_the_longer_of_two_times() -> None:
    peaks = Peaks(operations=100.0, bandwidth=10.0)
    assert peaks.floor(200, 10) == 2.0
    assert peaks.floor(100, 50) == 5.0


def test_rates_are_those_of_a_computer() -> None:
    found = measure_peaks(torch.device("cpu"), torch.float32, edges=(64, 256), megabytes=4)
    assert 1e8 < found.operations < 1e16
    assert 1e7 < found.bandwidth < 1e14
