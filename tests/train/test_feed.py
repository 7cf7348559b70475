from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from triptych.errors import TriptychError
from triptych.train.feed import StepIndices, seed_step


@settings(deadline=None, max_examples=50)
@given(
    part=st.integers(1, 4),
    accumulate=st.integers(1, 3),
    world=st.integers(1, 4),
    first=st.integers(0, 50),
    count=st.integers(0, 5),
)
def test_processes_and_parts_share_each_batch_exactly(part, accumulate, world, first, count):
    batch = part * accumulate * world
    steps = range(first, first + count)
    shares = [list(StepIndices(batch, accumulate, steps, rank, world)) for rank in range(world)]
    assert all(len(share) == count * accumulate for share in shares)
    for number, step in enumerate(steps):
        seen = [
            index
            for share in shares
            for indices in share[number * accumulate : (number + 1) * accumulate]
            for index in indices
        ]
        assert seen == list(range(step * batch, (step + 1) * batch))


def test_batch_that_does_not_part_is_told():
    with pytest.raises(TriptychError, match=r"batch_size is 8, .* 3 processes x 1.*multiple of 3"):
        StepIndices(8, 1, range(3), 0, 3)


def test_random_state_depends_on_seed_step_part_and_process_only():
    def draw(*place: int) -> float:
        seed_step(*place)
        return float(torch.rand(()))

    places = [(s, t, p, r) for s in (0, 1) for t in (0, 1) for p in (0, 1) for r in (0, 1)]
    drawn = [draw(*place) for place in places]
    assert len(set(drawn)) == len(places)
    torch.rand(5)
    assert [draw(*place) for place in reversed(places)] == drawn[::-1]
