"""What is left to transformers' own code."""

from __future__ import annotations


class Uncovered(Exception):
    """This call is not covered here: theirs runs. The message says why."""
