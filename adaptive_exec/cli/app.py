"""The commands as typer sees them, and their mistakes as one line each.

Nothing is decided here: options go as text to `options`, commands to `passes` and `doctor`.
"""

import re
import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from adaptive_exec.cli import exits
from adaptive_exec.cli.options import join_resume, program, split_command
from adaptive_exec.config import MEANT
from adaptive_exec.display import note
from adaptive_exec.errors import JournalError

_HELP = "Run a batch on the best level that this host affords: processes, threads, one by one."
_EPILOG = (
    "Exit codes: 0 all tasks have values, 1 some ended in their own error, 2 usage, "
    "3 some have no outcome, 124 deadline or SIGUSR1, 130 interrupt, 143 termination."
)

app = typer.Typer(
    help=_HELP,
    epilog=_EPILOG,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def run_app(arguments: Sequence[str]) -> int:
    """Run one command.

    Args:
        arguments: What follows the program's name.

    Returns:
        The exit code.
    """
    try:
        words = join_resume(arguments)
        own = split_command(words)[0] if words[:1] == ["run"] else words
        code = app(args=own, standalone_mode=False, prog_name="adaptive-exec", obj=tuple(words[1:]))
        sys.stdout.flush()
    except (
        OSError
    ) as error:  # the world's fault, most likely that of a standard output that is full
        exits.lose_output()
        if isinstance(error, BrokenPipeError):
            return exits.ALL_HAVE_VALUES
        note(f"adaptive-exec: cannot go on ({error}); make room, or name another place")
        return exits.NO_OUTCOME
    except Exception as error:  # noqa: BLE001  # typer's and click's usage errors share no public base over versions
        if hasattr(error, "format_message"):
            return _refuse(_with_meaning(error.format_message()), words[:1])
        traceback.print_exc()
        note(f"adaptive-exec: failed ({type(error).__name__}: {error}); please report it")
        return exits.NO_OUTCOME
    except KeyboardInterrupt as stop:
        note("adaptive-exec: stopped before it began")
        return stop.code if isinstance(stop, exits.Stopped) else exits.INTERRUPT
    code = code if isinstance(code, int) else 0
    return exits.NO_OUTCOME if exits.LOST and not code else code


def _with_meaning(message: str) -> str:
    """Name the option that is called otherwise elsewhere."""
    found = re.match(r"No such option: --([\w-]+)", message)
    meant = MEANT.get(found[1].replace("-", "_")) if found else None
    if found is None or meant is None:
        return message
    return f"No such option: --{found[1]}; did you mean --{meant.replace('_', '-')}?"


def _refuse(message: str, words: Sequence[str] = ()) -> int:
    """Say in one line what was wrong with the command."""
    text = " ".join(message.split()).rstrip(".")
    names = {
        command.name or command.callback.__name__
        for command in app.registered_commands
        if command.callback
    }
    command = words[0] if words and words[0] in names else "run"
    hint = "" if "; " in text else f"; see adaptive-exec {command} --help"
    note(f"{program().removesuffix(' run')}: {text}{hint}")
    return exits.USAGE


@app.command(
    options_metavar="[OPTIONS] [-- COMMAND...]",
    epilog="Others: report, explain, card, watch, doctor, journal, supervise, version; see --help.",
)
def run(
    context: typer.Context,
    *,
    card: Annotated[
        str | None, typer.Argument(help="A card file (.toml), or a name; default: stdlib.")
    ] = None,
    count: Annotated[
        str | None,
        typer.Option(
            "-c", "--count", "--n-limit", metavar="COUNT", help="Tasks; negative: a random sample."
        ),
    ] = None,
    seed: Annotated[
        str | None, typer.Option(metavar="S", help="Same sample, same random streams.")
    ] = None,
    once: Annotated[
        bool, typer.Option("-o", "--once", help="One pass; else repeat until Ctrl-C.")
    ] = False,
    afresh: Annotated[
        bool, typer.Option("-i", "--afresh", help="Set what earlier runs left aside first.")
    ] = False,
    resume: Annotated[
        str | None,
        typer.Option(metavar="[RUN]", help="Go on with a run; else the latest not finished."),
    ] = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Go on with a run, and run failures again.")
    ] = False,
    accept_changed: Annotated[
        bool, typer.Option("--accept-changed", help="Use results of a function that has changed.")
    ] = False,
    no_journal: Annotated[
        bool, typer.Option("--no-journal", help="Keep no results to go on from.")
    ] = False,
    task_timeout: Annotated[
        str | None,
        typer.Option(
            "-t",
            "--task-timeout",
            "--timeout",
            metavar="TIME",
            help="For one task: 2.5, 10s, 1h30m.",
        ),
    ] = None,
    timings: Annotated[
        bool, typer.Option("-T", "--timings", help="A line per task, and a summary.")
    ] = False,
    instances: Annotated[
        str | None,
        typer.Option("-n", "--instances", metavar="N", help="Instances started at once."),
    ] = None,
    shared: Annotated[
        bool, typer.Option("--shared", help="Let them split the tasks among them.")
    ] = False,
    instance: Annotated[str | None, typer.Option(hidden=True)] = None,
    function: Annotated[
        str | None, typer.Option(metavar="PKG.MOD:FN", help="Your function, instead of a card.")
    ] = None,
    table: Annotated[
        str | None,
        typer.Option("--input", metavar="FILE", help="CSV, TSV, JSON lines, Parquet, or lines."),
    ] = None,
    column: Annotated[
        str | None, typer.Option(metavar="NAME", help="Its cell is the argument; else the record.")
    ] = None,
    output: Annotated[
        str | None, typer.Option(metavar="FILE", help="Write .csv, .jsonl or .parquet here.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the output.")] = False,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Of a card: run.max_workers=2."),
    ] = None,
    batch_size: Annotated[
        str | None, typer.Option(metavar="N", help="Of a card: rows of a task.")
    ] = None,
    flush_interval: Annotated[
        str | None, typer.Option(metavar="TIME", help="Of a card: rows are written so often.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the commands, run none.")
    ] = False,
    results: Annotated[
        str | None, typer.Option(metavar="DIR", help="All that each command prints.")
    ] = None,
    halt_after: Annotated[
        str | None, typer.Option(metavar="N", help="Begin no more after so many failures.")
    ] = None,
    keep_order: Annotated[
        bool, typer.Option("--keep-order", help="Print what commands print in their order.")
    ] = False,
    runs: Annotated[str, typer.Option(metavar="DIR", help="Folder of all runs.")] = "runs",
    events: Annotated[
        str | None, typer.Option(metavar="FILE", help="Add a line of JSON per decision.")
    ] = None,
    deadline: Annotated[
        str | None,
        typer.Option(
            metavar="TIME", help="From then on no task is begun; default: the Slurm job's end."
        ),
    ] = None,
    grace: Annotated[
        str | None, typer.Option(metavar="TIME", help="For what runs then; default 8 s.")
    ] = None,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Show more of the log.")] = False,
    levels: Annotated[
        str | None, typer.Option(metavar="NAMES", help="Out of process,thread,sequential.")
    ] = None,
    max_workers: Annotated[
        str | None,
        typer.Option("--max-workers", "--workers", metavar="N", help="Most workers at once."),
    ] = None,
    max_in_flight: Annotated[
        str | None, typer.Option(metavar="N", help="Most chunks with workers at once.")
    ] = None,
    target_memory: Annotated[
        str | None, typer.Option(metavar="SIZE", help="Chunks are let out up to here: 70%, 8GiB.")
    ] = None,
    warn_memory: Annotated[
        str | None, typer.Option(metavar="SIZE", help="With less left one chunk at a time.")
    ] = None,
    critical_memory: Annotated[
        str | None, typer.Option(metavar="SIZE", help="With less left workers are stopped.")
    ] = None,
    task_memory: Annotated[
        str | None, typer.Option(metavar="SIZE", help="What one task takes; else measured.")
    ] = None,
    order: Annotated[
        str | None, typer.Option(metavar="ORDER", help="Which tasks begin first: largest.")
    ] = None,
    wall: Annotated[
        str | None, typer.Option(metavar="WALL", help="Bound memory: auto, soft, hard, none.")
    ] = None,
    count_swap: Annotated[
        bool, typer.Option("--count-swap", help="Swap counts as memory that can be taken.")
    ] = False,
    retries: Annotated[
        str | None, typer.Option(metavar="N", help="Executions after a worker's death.")
    ] = None,
    inline: Annotated[
        bool, typer.Option("--inline", help="Let tiny tasks move into this process.")
    ] = False,
    fallback: Annotated[
        str | None, typer.Option(metavar="LEVEL", help="For what cannot be sent: thread.")
    ] = None,
    isolate: Annotated[
        bool, typer.Option("--isolate", help="Never run a task in this process.")
    ] = False,
    max_tasks_per_worker: Annotated[
        str | None, typer.Option(metavar="N", help="Then the worker is replaced.")
    ] = None,
    max_worker_age: Annotated[
        str | None, typer.Option(metavar="TIME", help="Then the worker is replaced.")
    ] = None,
    max_worker_memory: Annotated[
        str | None, typer.Option(metavar="SIZE", help="Then the worker is replaced.")
    ] = None,
    inner_threads: Annotated[
        str | None, typer.Option(metavar="N", help="BLAS and OpenMP threads in a worker.")
    ] = None,
    start: Annotated[
        str | None, typer.Option(metavar="HOW", help="Start of workers: snapshot, fresh or loky.")
    ] = None,
    cluster: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Scheduler of Dask's that helps: tcp://..."),
    ] = None,
    cluster_wait: Annotated[
        str | None, typer.Option(metavar="TIME", help="For its first answer; default 10.")
    ] = None,
) -> int:
    """Run a card, or your own function over a table."""
    given = locals()
    del given["context"]
    return _start(given, tuple(context.obj))


def _start(given: Mapping[str, object], arguments: tuple[str, ...]) -> int:
    from adaptive_exec.cli.options import make_options
    from adaptive_exec.cli.passes import prepare, run_prepared

    try:
        prepared = prepare(make_options(given, arguments))
    except (ValueError, TypeError, JournalError) as error:
        return _refuse(str(error))
    return run_prepared(prepared)


@app.command()
def doctor(
    *, as_json: Annotated[bool, typer.Option("--json", help="As JSON, for programs.")] = False
) -> int:
    """Say what this host affords, and why."""
    from adaptive_exec.cli.doctor import examine

    return examine(as_json=as_json)


@app.command(context_settings={"allow_interspersed_args": False})
def supervise(
    *,
    command: Annotated[
        list[str] | None, typer.Argument(metavar="-- COMMAND...", help="Program and arguments.")
    ] = None,
    copies: Annotated[
        str | None, typer.Option("-n", "--copies", metavar="N", help="Copies at once; default 1.")
    ] = None,
    max_age: Annotated[
        str | None, typer.Option(metavar="TIME", help="Age at which a copy is replaced: 60min.")
    ] = None,
    max_memory: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE", help="Memory at which a copy is replaced, with all it started."
        ),
    ] = None,
    min_available: Annotated[
        str | None,
        typer.Option(metavar="SIZE", help="Left on the host; below, the largest is replaced."),
    ] = None,
    check_every: Annotated[
        str | None, typer.Option(metavar="TIME", help="A line per copy; default 60s.")
    ] = None,
    grace: Annotated[
        str | None, typer.Option(metavar="TIME", help="From SIGTERM to SIGKILL; default 120s.")
    ] = None,
    restart_failed: Annotated[
        bool, typer.Option("--restart-failed", help="Also after an exit code of its own but 0.")
    ] = False,
    pid_file: Annotated[
        str, typer.Option(metavar="FILE", help="Says who runs; one supervisor per file.")
    ] = "adaptive-exec-supervise.pid",
) -> int:
    """Run copies of a command, and restart them before they hurt the host."""
    given = locals()
    from adaptive_exec.cli.supervise_command import make_terms, run_supervised

    texts = {name: text for name, text in given.items() if isinstance(text, str | None)}
    try:
        return run_supervised(make_terms(texts, command or (), restart_failed=restart_failed))
    except (ValueError, TypeError) as error:
        return _refuse(str(error))


@app.command()
def journal(
    *,
    file: Annotated[
        str | None, typer.Argument(metavar="[FILE]", help="A journal, or the folder of a run.")
    ] = None,
    export: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Write its tasks to .csv, .parquet or .jsonl."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the export.")] = False,
    prune: Annotated[
        str | None,
        typer.Option(metavar="AGE", help="Remove journals of runs finished longer ago: 7d, 12h."),
    ] = None,
    outputs: Annotated[
        bool, typer.Option("--outputs", help="Prune their tables and reports as well.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Prune without asking.")] = False,
    runs: Annotated[str, typer.Option(metavar="DIR", help="Folder of all runs.")] = "runs",
) -> int:
    """Show what a journal holds, export it, or remove old runs."""
    from adaptive_exec.cli.journal_command import export_journal, prune_runs, show_journal

    try:
        if prune is not None:
            return prune_runs(Path(runs), prune, with_outputs=outputs, is_sure=yes)
        if file is None:
            return _refuse("journal needs a file, got none; name one, or give --prune AGE")
        if export is not None:
            return export_journal(Path(file), Path(export), force=force)
        return show_journal(Path(file))
    except (ValueError, JournalError) as error:
        return _refuse(str(error))


@app.command()
def report(
    *,
    name: Annotated[str, typer.Argument(metavar="RUN", help="A journal, a run's folder, a card.")],
    output: Annotated[
        str | None, typer.Option("-o", "--output", metavar="FILE", help="Default: beside it.")
    ] = None,
    other: Annotated[
        str | None, typer.Option("--compare", metavar="RUN2", help="Another run beside it.")
    ] = None,
    runs: Annotated[str, typer.Option(metavar="DIR", help="Folder of all runs.")] = "runs",
) -> int:
    """Write the page of a run, also while it goes on."""
    from adaptive_exec.cli.looking import write_page

    target = None if output is None else Path(output)
    try:
        return write_page(name, runs=Path(runs), output=target, other=other)
    except (ValueError, JournalError) as error:
        return _refuse(str(error))


@app.command()
def explain(
    *,
    name: Annotated[str, typer.Argument(metavar="RUN", help="A journal, a run's folder, a card.")],
    what: Annotated[
        list[str] | None,
        typer.Argument(metavar="[TASK|level|worker N|now]", help="Number or key; else all."),
    ] = None,
    runs: Annotated[str, typer.Option(metavar="DIR", help="Folder of all runs.")] = "runs",
) -> int:
    """Say why a run, a task, the level or a worker went as it did."""
    from adaptive_exec.cli.looking import explain_run

    try:
        return explain_run(name, " ".join(what or ()), runs=Path(runs))
    except (ValueError, JournalError) as error:
        return _refuse(str(error))


@app.command()
def card(
    *,
    action: Annotated[str, typer.Argument(metavar="check|new|list", help="What to do.")],
    file: Annotated[str | None, typer.Argument(metavar="[FILE]", help="A card file.")] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Check with this: run.max_workers=2."),
    ] = None,
    runs: Annotated[str, typer.Option(metavar="DIR", help="Folder of all runs.")] = "runs",
    force: Annotated[bool, typer.Option("--force", help="Replace a card that is there.")] = False,
) -> int:
    """Check a card file without running it, write a new one, or list those at hand."""
    from adaptive_exec.cli.card_command import run_card_command

    try:
        return run_card_command(action, file, changes or [], runs=Path(runs), force=force)
    except (ValueError, TypeError, JournalError) as error:
        return _refuse(str(error))


@app.command()
def watch(
    *,
    once: Annotated[bool, typer.Option("--once", help="One look, then the end.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="A line of JSON per look.")] = False,
    refresh: Annotated[
        str | None, typer.Option(metavar="TIME", help="Between two looks: 2s.")
    ] = None,
) -> int:
    """Show all your instances on this host, live."""
    from adaptive_exec.cli.options import seconds
    from adaptive_exec.cli.watch import REFRESH_SECONDS, REFRESH_SECONDS_MIN, run_watch

    try:
        wanted = seconds("--refresh", refresh) or REFRESH_SECONDS
    except ValueError as error:
        return _refuse(str(error))
    return run_watch(once=once, as_json=as_json, refresh=max(REFRESH_SECONDS_MIN, wanted))


@app.command()
def version() -> int:
    """Say which version this is."""
    from adaptive_exec.cli.version import version_text

    exits.say(version_text())
    return 0
