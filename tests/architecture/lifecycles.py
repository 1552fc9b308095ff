"""Draws the tables of `core.lifecycle` as a page.

`.venv-test/bin/python -m tests.architecture.lifecycles > docs/lifecycle.md` writes it anew.
"""

import ast
from itertools import pairwise
from pathlib import Path

from adaptive_exec.core import lifecycle
from tests.architecture.house import ROOT

SOURCE = ROOT / "adaptive_exec/core/lifecycle.py"
PAGE = ROOT / "docs/lifecycle.md"
HEAD = """# Lives

Drawn from `adaptive_exec/core/lifecycle.py`; do not edit. What is not drawn here cannot happen: the
code fails where it does. To draw it anew:
`.venv-test/bin/python -m tests.architecture.lifecycles > docs/lifecycle.md`
"""


def tables() -> dict[str, str]:
    """The names of the tables with the text below each."""
    body = ast.parse(Path(SOURCE).read_text(encoding="utf-8")).body
    found = {}
    for node, after in pairwise(body):
        if isinstance(node, ast.AnnAssign) and isinstance(after, ast.Expr):
            found[node.target.id] = " ".join(after.value.value.split())
    return found


def draw() -> str:
    """Draw the page."""
    return "\n".join([HEAD, *(_draw(name, text) for name, text in tables().items())])


def _draw(name: str, text: str) -> str:
    table = getattr(lifecycle, name)
    lines = [f"## {name.capitalize()}", "", text, "", "```mermaid", "stateDiagram-v2"]
    lines.append(f"    [*] --> {next(iter(table))}")
    arrows: dict[tuple[str, str], list[str]] = {}
    for state, events in table.items():
        for event, new in events.items():
            arrows.setdefault((state, new), []).append(event)
    lines += [f"    {old} --> {new}: {', '.join(events)}" for (old, new), events in arrows.items()]
    lines += ["```", "", "| in | when | then |", "|---|---|---|"]
    lines += [
        f"| {state} | {event} | {new} |"
        for state, events in table.items()
        for event, new in events.items()
    ]
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    print(draw(), end="")
