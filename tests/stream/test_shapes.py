"""What of a mask is the object."""

from __future__ import annotations

import numpy as np

from triptych.stream.shapes import visible_parts


def picture(*rows: str) -> np.ndarray:
    return np.array([[sign == "#" for sign in row] for row in rows])


NOTHING = np.zeros((3, 10), bool)
CUT = picture("##....####", "##....####", "##....####")


def test_a_mask_in_one_part_is_the_object() -> None:
    mask = picture(".#", "#.")  # a corner is enough
    found, corner = visible_parts(mask, np.zeros((2, 2), bool))
    assert corner == (0, 0)
    np.testing.assert_array_equal(found, mask)


def test_what_lies_apart_is_left_out() -> None:
    mask, corner = visible_parts(CUT, NOTHING)
    assert corner == (6, 0)
    assert mask.shape == (3, 4)
    assert mask.all()


def test_what_another_object_cuts_off_belongs_to_it() -> None:
    others = picture("..####....", "..####....", "..####....")
    mask, corner = visible_parts(CUT, others)
    assert corner == (0, 0)
    np.testing.assert_array_equal(mask, CUT)
    some = picture("..##......", "..##......", "..##......")  # half of the gap is free
    assert visible_parts(CUT, some)[1] == (6, 0)
    np.testing.assert_array_equal(visible_parts(CUT.T, others.T)[0], CUT.T)


def test_a_crumb_is_left_out_even_behind_something() -> None:
    mask = picture("#.....####", "......####", "......####")
    assert visible_parts(mask, picture(".#####....", "..........", ".........."))[1] == (6, 0)


def test_parts_that_lie_askew_have_nothing_between_them() -> None:
    mask = picture("##........", "..........", "......####")
    found, corner = visible_parts(mask, ~mask)
    assert corner == (6, 2)
    assert found.shape == (1, 4)
