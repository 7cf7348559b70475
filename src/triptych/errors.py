"""The one exception whose message is meant for the user's eyes."""

from __future__ import annotations


class TriptychError(Exception):
    """A mistake that the user can correct.

    The message is a single line: what is wrong, where, and what to do. The command line prints
    it to stderr and exits with code 2; library users may catch it like any other exception.
    """
