"""The command ``triptych``: from arguments to an exit code, whatever happens in between.

0 is success, 2 a mistake that the user can mend (told in one line on stderr), 130 Ctrl-C. Imports
nothing heavy, so that an interrupt during the imports is met as well.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from triptych import __version__
from triptych.errors import TriptychError
from triptych.threads import share_cores

if TYPE_CHECKING:
    from triptych.commands import Command


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Args:
        arguments: without the program's name; those of the process by default.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    share_cores()
    try:
        if arguments == ["--version"]:
            print(f"triptych {__version__}")
            code = 0
        else:
            code = _parse(arguments).run()
        sys.stdout.flush()
        return code
    except TriptychError as error:
        complain(str(error))
        return 2
    except KeyboardInterrupt:
        complain("interrupted")
        return 130
    except BrokenPipeError:
        # Whoever read our output has seen enough. Python flushes once more at exit, which must
        # not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def complain(text: str) -> None:
    """Write one line to stderr, whatever characters a file name smuggled into it."""
    print(f"triptych: {one_line(text)}", file=sys.stderr)


def one_line(text: str) -> str:
    """The text with line breaks and terminal controls made visible."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _parse(arguments: Sequence[str]) -> Command:
    """Turn arguments into a command.

    Raises:
        TriptychError: they mean nothing.
        BrokenPipeError: nobody wants the help that was asked for.
    """
    from triptych.commands import parse

    told = io.StringIO()
    try:
        with contextlib.redirect_stderr(told):
            return parse(arguments)
    except SystemExit as end:
        if end.code in (0, None):  # after --help
            sys.stdout.flush()
            raise
        raise TriptychError(_summary(told.getvalue())) from None


def _summary(box: str) -> str:
    """The gist of the framed, many-lined message with which tyro refuses arguments."""
    # Lines and corners; dashes where the terminal has no others.
    inside = [re.sub("[│╭╮╰╯─]|-{4,}", "", line).rstrip() for line in box.splitlines()[1:]]
    # Eight spaces in front of it: the help text of the argument that is meant.
    text = "\n".join(line.strip() for line in inside if not line.startswith(" " * 9)).strip()
    gist = " ".join(text.split("\n\n")[0].split()).rstrip(".")
    hint = re.search(r"Perhaps you meant:\n(--\S+)", text)
    perhaps = f" (perhaps you meant {hint[1]})" if hint else ""
    where = re.search(r"triptych[\w ]* --help", text)
    return f"{gist}{perhaps}; see {where[0] if where else 'triptych --help'}"
