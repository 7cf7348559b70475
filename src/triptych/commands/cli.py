"""The command ``triptych``: from arguments to an exit code, whatever happens in between.

0 is success, 2 a mistake of the user (told in one line on stderr), 130 Ctrl-C. Imports
nothing heavy, so that an interrupt during the imports is met as well.
"""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from triptych import __version__
from triptych.commands import console
from triptych.commands.console import complain
from triptych.errors import TriptychError
from triptych.runtime.memory import keep_freed_memory
from triptych.runtime.threads import share_cores

if TYPE_CHECKING:
    from triptych.commands.registry import Command


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Args:
        arguments: without the program's name; those of the process by default.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    share_cores()
    if arguments[:1] == ["train"]:
        keep_freed_memory()
    console.prepare()
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
    except BrokenPipeError:  # whoever read our output has seen enough
        console.give_up_stdout()
        return 141
    except OSError as error:
        if not console.is_from_stdout(error):
            raise
        console.give_up_stdout()
        complain(
            f"cannot print: {error.strerror or error}; what was to be printed is lost, files are "
            "written"
        )
        return 2


def _parse(arguments: Sequence[str]) -> Command:
    """Turn arguments into a command.

    Raises:
        TriptychError: they mean nothing.
        BrokenPipeError: nobody wants the help that was asked for.
    """
    from triptych.commands.mistakes import summary
    from triptych.commands.registry import COMMANDS, parse

    told = io.StringIO()
    try:
        with contextlib.redirect_stderr(told):
            return parse(arguments)
    except SystemExit as end:
        if end.code in (0, None):  # after --help
            sys.stdout.flush()
            raise
        raise TriptychError(summary(told.getvalue(), arguments, COMMANDS)) from None
