"""Work in chunks gives what work on the whole gives."""

from __future__ import annotations

import pytest
import torch

from triptych.networks.layers import chunks as chunks_module
from triptych.networks.layers.chunks import by_chunks, chunks


@pytest.mark.parametrize(("length", "size"), [(0, 3), (1, 3), (3, 3), (7, 3)])
def test_chunks_cover_everything_once(length, size):
    found = [index for chunk in chunks(length, size) for index in range(length)[chunk]]
    assert found == list(range(length))
    assert all(chunk.stop - chunk.start <= size for chunk in chunks(length, size))


@pytest.mark.parametrize("shape", [(7, 4), (2, 5, 4), (1, 3, 5, 4), (0, 4)])
@pytest.mark.parametrize("grad", [True, False])
def test_chunks_go_one_by_one_and_make_the_whole(shape, grad, monkeypatch):
    monkeypatch.setattr(chunks_module, "CHUNK", 3)
    seen = []

    def widen(x: torch.Tensor) -> torch.Tensor:
        seen.append(x.shape[:-1].numel())
        return torch.cat((x, 2 * x), dim=-1).double()

    x = torch.randn(shape)
    with torch.set_grad_enabled(grad):
        torch.testing.assert_close(by_chunks(widen, x), torch.cat((x, 2 * x), dim=-1).double())
    count = x.shape[:-1].numel()
    whole = grad or count <= 3
    assert seen == ([count] if whole else [chunk.stop - chunk.start for chunk in chunks(count, 3)])
