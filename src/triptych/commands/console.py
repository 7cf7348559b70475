"""Standard streams as they may be (closed, full, without our signs), and errors in one line."""

from __future__ import annotations

import codecs
import contextlib
import errno
import os
import sys
from typing import TextIO, cast

_SIGNS = {
    **dict.fromkeys("│┃║╎┆┊", "|"),
    **dict.fromkeys("─━═╌┄┈╴╶╸╺", "-"),
    **dict.fromkeys("╭╮╰╯┌┐└┘┏┓┗┛├┤┬┴┼┝┥╞╡╪╔╗╚╝╠╣╦╩╬┠┨┡┩┢┪╇╈", "+"),
    **dict.fromkeys("█▉▊▋▌▍▎▏", "#"),
    **dict.fromkeys("\u2018’", "'"),
    **dict.fromkeys("“”„", '"'),
    **{"…": "...", "–": "-", "—": "--", "×": "x", "±": "+/-", "≥": ">=", "≤": "<=", "→": "->"},
    **{"•": "*", "²": "2", "\u00a0": " "},
}
"""What stands for a sign where it cannot be written."""

_ERRORS = "triptych.signs"


def _written_otherwise(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    given = error.object[error.start : error.end]
    text = "".join(
        # A byte of a file name that is no text stays to be read.
        repr(c)[1:-1] if "\ud800" <= c <= "\udfff" else _SIGNS.get(c, "?")
        for c in given
    )
    # What stands for a sign is ASCII, which every encoding of a terminal has.
    return text, error.end


codecs.register_error(_ERRORS, _written_otherwise)


def prepare() -> None:
    """Make the standard streams fit to be written to, whatever they are.

    Closed ones become ones that lead nowhere: the next file that is opened would else take their
    number, and get what a library prints. Others write a sign that their encoding lacks otherwise.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number
    sys.stdin = sys.stdin or _nowhere("r")
    sys.stdout = sys.stdout or _nowhere("w")
    sys.stderr = sys.stderr or _nowhere("w")
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, ValueError, OSError):  # somebody's own stream
            stream.reconfigure(errors=_ERRORS)  # type: ignore[union-attr]


def _nowhere(mode: str) -> TextIO:
    stream = open(os.devnull, mode, encoding="utf-8")  # noqa: SIM115 - as long as we run
    return cast(TextIO, stream)


def give_up_stdout() -> None:
    """Let what is still to be printed lead nowhere: Python flushes once more at exit."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF)


def is_from_stdout(error: OSError) -> bool:
    """Whether an error came from printing: a full disk behind it, a terminal that is gone."""
    if error.errno not in _NO_ROOM or error.filename is not None:
        return False
    try:  # what failed is lost, so another line has to tell
        sys.stdout.write("\n")
        sys.stdout.flush()
    except OSError:
        return True
    return False


def complain(text: str) -> None:
    """Write one line to stderr, whatever characters a file name smuggled into it."""
    with contextlib.suppress(OSError, ValueError):  # full or closed: the work goes on
        print(f"triptych: {one_line(text)}", file=sys.stderr, flush=True)


def one_line(text: str) -> str:
    """The text with line breaks and terminal controls made visible."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
