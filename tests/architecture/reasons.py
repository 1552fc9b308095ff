"""Draws the page of reason codes from `core.meanings`.

`python -m tests.architecture.reasons` writes `docs/reasons.md` anew.
"""

from adaptive_exec.core.meanings import SECTIONS
from tests.architecture.house import ROOT

PAGE = ROOT / "docs/reasons.md"
HEAD = """# Reasons

Every decision carries one of these codes: in the log (`reason=brake`), in `on_event` and
`--events`, in the report. `ex.why()` and `adaptive-exec explain RUN` say them with the numbers of a
run. Drawn from `adaptive_exec/core/meanings.py` by `python -m tests.architecture.reasons`; do not
edit.
"""


def draw() -> str:
    """Draw the page."""
    lines = [HEAD]
    for title, codes in SECTIONS.items():
        lines += [f"## {title}", "", "| code | cause | what the program did | what you can do |"]
        lines.append("|---|---|---|---|")
        for code, meaning in codes.items():
            name = f'<a id="{code}"></a>`{code}`'
            lines.append(f"| {name} | {meaning.cause} | {meaning.did} | {meaning.help} |")
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    PAGE.write_text(draw(), encoding="utf-8")
