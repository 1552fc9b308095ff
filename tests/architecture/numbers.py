"""The numbers of the package as they stand in its source, each with the text below it.

`python -m tests.architecture.numbers` writes the table of those that name a source into
`docs/sources.md`.
"""

import ast
from dataclasses import dataclass

from tests.architecture.house import PACKAGE, ROOT, read_modules

PAGE = ROOT / "docs/sources.md"
HEAD = "## As the code says it\n"
"""Where the table begins; it ends with the page."""


@dataclass(frozen=True, slots=True)
class Named:
    """A number with a name: its module without the package, and what is said of it."""

    module: str
    name: str
    value: str
    text: str

    @property
    def source(self) -> str:
        """What is said of where it comes from, "" where nothing is."""
        return self.text.partition("Source:")[2].strip()


def _is_number(node: ast.AST | None) -> bool:
    match node:
        case ast.Constant(value=value):
            return isinstance(value, (int, float)) and not isinstance(value, bool)
        case ast.UnaryOp(operand=operand):
            return _is_number(operand)
        case ast.BinOp(left=left, right=right):
            return _is_number(left) or _is_number(right)
        case ast.Tuple(elts=parts):
            return bool(parts) and all(map(_is_number, parts))
    return False


def _text(node: ast.stmt | None) -> str:
    match node:
        case ast.Expr(value=ast.Constant(value=str(text))):
            return " ".join(text.split())
    return ""


def read_numbers() -> list[Named]:
    """Return all numbers that stand in a module with a name; several in a line are codes."""
    found = []
    for module, tree in read_modules(ROOT / PACKAGE).items():
        for node, below in zip(tree.body, [*tree.body[1:], None], strict=True):
            match node:
                case ast.AnnAssign(target=target, value=value):
                    targets = [target]
                case ast.Assign(targets=targets, value=value):
                    pass
                case _:
                    continue
            if value is None or not _is_number(value):
                continue
            short = module.removeprefix(f"{PACKAGE}.")
            names = [one.id for one in targets if isinstance(one, ast.Name)]
            found += [Named(short, name, ast.unparse(value), _text(below)) for name in names]
    return found


def written_page() -> str:
    """Return the page with the table as the code has it now."""
    above, head, _ = PAGE.read_text(encoding="utf-8").partition(HEAD)
    rows = [
        f"| `{one.name}` | `{one.module}` | {one.source} |"
        for one in read_numbers()
        if one.source and f"| `{one.name}` |" not in above
    ]
    assert head, f"{PAGE.name} has no line {HEAD!r}"
    return "\n".join([above + head, "| constant | in | source |", "|---|---|---|", *rows, ""])


if __name__ == "__main__":
    PAGE.write_text(written_page(), encoding="utf-8")
