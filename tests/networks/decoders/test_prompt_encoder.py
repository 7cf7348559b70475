"""Prompts to tokens: where places are, what is added to them, what only fills up a row."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from triptych.errors import TriptychError
from triptych.networks.contract import Prompts
from triptych.networks.decoders.prompt_encoder import FourierPositions, PromptEncoder

SIZE, GRID = 40, (5, 5)


@pytest.fixture
def encoder() -> PromptEncoder:
    torch.manual_seed(0)
    return PromptEncoder(8, SIZE, 16).eval()


def place(encoder: PromptEncoder, x: float, y: float) -> Tensor:
    """The encoding of one place, number by number."""
    across, down = (2 * c / SIZE - 1 for c in (x, y))
    pairs = encoder.positions.frequencies.T.tolist()
    angles = [2 * math.pi * (across * a + down * b) for a, b in pairs]
    return torch.tensor([math.sin(a) for a in angles] + [math.cos(a) for a in angles])


def test_points_by_their_labels_and_one_that_is_none(encoder):
    points = torch.tensor([[[3.0, 30.0], [20.5, 0.5]], [[1.0, 2.0], [40.0, 40.0]]])
    labels = torch.tensor([[1, 0], [0, -1]])
    found = encoder(Prompts(points, labels), GRID)
    wanted = [
        [place(encoder, 3, 30) + encoder.kinds[1], place(encoder, 20.5, 0.5) + encoder.kinds[0]],
        [place(encoder, 1, 2) + encoder.kinds[0], encoder.not_a_point[0]],
    ]
    assert found.tokens.shape == (2, 3, 8)
    for row in range(2):
        for column in range(2):
            torch.testing.assert_close(
                found.tokens[row, column], wanted[row][column], rtol=1e-5, atol=1e-5
            )
        assert torch.equal(found.tokens[row, 2], encoder.not_a_point[0])
    assert found.present.tolist() == [[True, True, True], [True, False, True]]


def test_a_box_is_its_two_corners(encoder):
    found = encoder(Prompts(boxes=torch.tensor([[4.0, 5.0, 20.0, 30.0]])), GRID)
    wanted = torch.stack(
        (place(encoder, 4, 5) + encoder.kinds[2], place(encoder, 20, 30) + encoder.kinds[3])
    )
    torch.testing.assert_close(found.tokens[0], wanted, rtol=1e-5, atol=1e-5)
    assert found.present is None


def test_points_come_before_a_box_and_need_no_other_end(encoder):
    points, boxes = torch.tensor([[[3.0, 4.0]]]), torch.tensor([[1.0, 2.0, 8.0, 9.0]])
    both = encoder(Prompts(points, torch.tensor([[0]]), boxes), GRID).tokens
    assert both.shape == (1, 3, 8)
    assert torch.equal(both[:, 1:], encoder(Prompts(boxes=boxes), GRID).tokens)
    assert torch.equal(
        both[:, :1], encoder(Prompts(points, torch.tensor([[0]])), GRID).tokens[:, :1]
    )


def test_cells_of_the_image_are_at_their_centres(encoder):
    grid = encoder.positions.grid(2, 4)
    assert grid.shape == (8, 8)
    # Row 1, column 2 of 2x4 cells.
    torch.testing.assert_close(
        grid[6], place(encoder, SIZE * 2.5 / 4, SIZE * 1.5 / 2), rtol=1e-5, atol=1e-5
    )


def test_without_a_mask_the_same_is_added_everywhere(encoder):
    found = encoder(Prompts(boxes=torch.rand(3, 4) * SIZE), GRID)
    assert found.dense.shape == (1, 8, 1, 1)
    assert torch.equal(found.dense[0, :, 0, 0], encoder.no_mask[0])


def test_masks_shrink_to_the_grid_each_by_itself(encoder):
    masks = torch.randn(2, 1, 20, 20)
    boxes = torch.rand(2, 4) * SIZE
    found = encoder(Prompts(boxes=boxes, masks=masks), GRID).dense
    assert found.shape == (2, 8, 5, 5)
    alone = encoder(Prompts(boxes=boxes[1:], masks=masks[1:]), GRID).dense
    torch.testing.assert_close(found[1:], alone)
    masks[1, 0, :4, 8:12] += 3.0  # row 0, column 2 of the grid
    changed = (encoder(Prompts(boxes=boxes, masks=masks), GRID).dense - found).abs().amax(1) > 1e-6
    assert changed.nonzero().tolist() == [[1, 0, 2]]


def test_places_are_exact_in_half_precision():
    positions = FourierPositions(32)
    places = torch.rand(50, 2)
    exact = positions(places)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(positions(places), exact)
    half = FourierPositions(32).to(torch.bfloat16)
    half.frequencies.copy_(positions.frequencies)
    positions.frequencies.copy_(half.frequencies.float())
    assert torch.equal(half(places), positions(places).to(torch.bfloat16))


def test_frequencies_are_kept_and_not_trained(encoder):
    assert "positions.frequencies" in encoder.state_dict()
    assert "positions.frequencies" not in dict(encoder.named_parameters())


BOX, POINT = torch.zeros(2, 4), torch.zeros(2, 1, 2)


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (Prompts(), "there is no prompt; give points, boxes or both"),
        (Prompts(points=POINT[:0]), "there is no prompt"),
        (Prompts(points=POINT[:, :0]), "there is no prompt"),
        (Prompts(masks=torch.zeros(1, 1, 20, 20)), "there is no prompt"),
        (Prompts(POINT[0]), r"points have shape \(1, 2\); expected \(1, 2, 2\) for 1 prompt$"),
        (Prompts(torch.zeros(2)), "there is no prompt"),
        (Prompts(POINT, torch.zeros(2, 2)), r"labels have shape \(2, 2\); expected \(2, 1\)"),
        (Prompts(POINT, None, BOX[:1]), r"boxes have shape \(1, 4\); .* \(2, 4\) for 2 prompts$"),
        (Prompts(boxes=BOX[:, :2]), r"boxes have shape \(2, 2\); expected \(2, 4\)"),
        (
            Prompts(boxes=BOX, masks=torch.zeros(2, 1, 40, 40)),
            r"masks have shape \(2, 1, 40, 40\); expected \(2, 1, 20, 20\)",
        ),
        (Prompts(boxes=BOX, masks=torch.zeros(1, 1, 20, 20)), r"expected \(2, 1, 20, 20\)"),
    ],
)
def test_what_does_not_fit_together_is_told_in_one_line(encoder, ask, words):
    with pytest.raises(TriptychError, match=words) as caught:
        encoder(ask, GRID)
    assert "\n" not in str(caught.value)
