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
    given = sys.argv[1:] if arguments is None else list(arguments)
    if given in (["version"], ["--version"]):
        from adaptive_exec.cli.version import version_text

        sys.stdout.write(f"{version_text()}\n")
        return 0
    from adaptive_exec.cli.app import run_app

    return run_app(given)
