"""The command line: `adaptive-exec run`, `supervise`, `doctor`, `version`.

`main` returns the exit code: 0 all tasks have values, 1 some ended in their own error, 2 usage, 3
some have no outcome, 124 deadline, 130 interrupt, 143 termination. What must be quick is answered
before typer is imported.
"""

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: What follows the program's name; None takes it from the interpreter.

    Returns:
        The exit code.
    """
    try:
        if arguments is not None:
            return _run(list(arguments))
        from adaptive_exec.cli.streams import mend_streams  # an interrupt may come this early

        mend_streams()
        return _run(sys.argv[1:])
    except KeyboardInterrupt:  # while things are loaded; later it is `run_app` that says so
        sys.stderr.write("adaptive-exec: stopped before it began\n")
        return 130


def _run(given: list[str]) -> int:
    if given in (["version"], ["--version"]):
        from adaptive_exec.cli.exits import LOST, NO_OUTCOME, say
        from adaptive_exec.cli.version import version_text

        say(version_text())
        return NO_OUTCOME if LOST else 0
    from adaptive_exec.cli.app import run_app

    return run_app(given)
