"""What `ex.report` returns: the sums of `core/report`, with ways to look at them.

Also packs a report for a journal, and unpacks it. What draws is loaded when something is drawn.
Decides nothing.
"""

import time
from pathlib import Path
from typing import Any, Final

from adaptive_exec.config import Config
from adaptive_exec.core.report import RunReport
from adaptive_exec.core.saved import as_plain, from_plain
from adaptive_exec.core.snapshot import HostSnapshot
from adaptive_exec.engine.short import short_text

SQUEEZE_LEVEL: Final = 6
"""Of zlib; a full trace of 400 KB takes 10 ms and becomes 60 KB."""


class ShownReport(RunReport):
    """What an executor did so far and why; print it, or have it drawn."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        from adaptive_exec.drawing.page import draw_cell

        return draw_cell(self)

    def to_html(self, path: str | Path) -> Path:
        """Write a page of its own, which opens from the disk without a network.

        Args:
            path: The file; replaced if it is there.

        Returns:
            The same.
        """
        from adaptive_exec.drawing.page import draw_page

        target = Path(path)
        target.write_text(draw_page(self), encoding="utf-8", errors="backslashreplace")
        return target

    def to_json(self) -> str:
        """Return all of it as JSON: sums, decisions with their numbers, readings, chunks."""
        import json

        return json.dumps(as_plain(self), default=str)

    def to_trace(self, path: str | Path) -> Path:
        """Write it in the trace format of Chrome, for Perfetto's viewer (ui.perfetto.dev).

        Args:
            path: The file, a `.json`; replaced if it is there.

        Returns:
            The same.
        """
        import json

        from adaptive_exec.drawing.viewer import trace_events

        target = Path(path)
        target.write_text(json.dumps({"traceEvents": trace_events(self)}), encoding="utf-8")
        return target

    def task_table(self, *, as_frame: bool | None = None) -> Any:
        """Return the chunks that are kept, one row for each; those of one task are tasks.

        Args:
            as_frame: True for a DataFrame, False for a list of dictionaries; None for a DataFrame
                where pandas is installed.

        Returns:
            The rows, in the order of their ends; seconds count from the run's begin.

        Raises:
            ImportError: A DataFrame was asked for and pandas is missing.
        """
        began = self.began_at
        rows = [
            one._asdict() | {"at": one.at - began, "until": one.until - began}
            for one in sorted({*self.spans, *self.deaths}, key=lambda one: one.until)
        ]
        if as_frame is False:
            return rows
        try:
            import pandas as pd
        except ImportError:
            if as_frame:
                raise
            return rows
        return pd.DataFrame(rows)


def show_report(report: RunReport, config: Config, host: HostSnapshot) -> ShownReport:
    """Return a report that can be drawn, with what it was made under.

    Args:
        report: The sums.
        config: The settings.
        host: What the host affords.
    """
    settings = [
        (name, _text_of(value))
        for name, value in config._asdict().items()
        if value != Config._field_defaults[name]
    ]
    facts = [
        ("memory", f"{host.limit_bytes / 2**20:.0f} MiB ({host.limit_source})"),
        ("memory left", f"{host.available_bytes / 2**20:.0f} MiB ({host.available_source})"),
        ("cores", f"{host.usable_cores} ({host.cores_source})"),
        *((one.name, f"{one.value:g} ({one.source})") for one in host.limits),
    ]
    if host.wide_kill:
        facts.append(("a kill for memory", f"would end this program too ({host.wide_kill})"))
    epoch = time.time() - time.monotonic()
    made = report._replace(settings=tuple(settings), host=tuple(facts), epoch_seconds=epoch)
    return ShownReport(*made)


def _text_of(value: object) -> str:
    """Write a setting; of a function its name alone."""
    name = getattr(value, "__qualname__", None)
    return name if isinstance(name, str) else short_text(value)


def pack_report(report: RunReport) -> bytes:
    """Return a report as bytes for a journal."""
    import json
    import zlib

    return zlib.compress(json.dumps(as_plain(report), default=str).encode(), SQUEEZE_LEVEL)


def unpack_report(body: bytes) -> ShownReport:
    """Return the report that a journal has kept.

    Raises:
        ValueError: It is of another version, or damaged.
    """
    import json
    import zlib

    try:
        plain = json.loads(zlib.decompress(body))
    except (zlib.error, UnicodeDecodeError) as error:
        message = f"report is damaged, got {error}; make it anew"
        raise ValueError(message) from error
    return ShownReport(*from_plain(plain))
