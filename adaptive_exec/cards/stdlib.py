"""The default card: measure every source file of the standard library of the Python that runs.

Real work on input that every Python machine has: bound by the interpreter lock, heavy-tailed, and
with a file that does not parse (one is shipped, so it is always so). Such a file is a row with an
error, not a failure of the task. Tests of the standard library are left out: many installations
lack them.
"""

import ast
import sysconfig
import zlib
from pathlib import Path
from types import CodeType
from typing import Final, NamedTuple

from adaptive_exec.cards.card import DEFAULT_CARD, Card

LEFT_OUT: Final = frozenset({
    "site-packages",
    "dist-packages",
    "test",
    "tests",
    "idle_test",
    "__pycache__",
    "lib-dynload",
})
"""Folders that are not the library's own code, or that some installations leave out."""
ZLIB_LEVEL: Final = 6
"""zlib's default, written out so that the sizes do not follow a change of the default."""
SHIPPED: Final = Path(__file__).parent / "assets" / "does_not_parse.txt"
SHIPPED_NAME: Final = "_shipped/does_not_parse.txt"

COLUMNS: Final = (
    "module",
    "lines",
    "functions",
    "classes",
    "branches",
    "complexity",
    "highest_complexity",
    "longest_function",
    "longest_function_lines",
    "bytecode_bytes",
    "source_bytes",
    "compressed_bytes",
    "error",
)


class Source(NamedTuple):
    """One task: a source file.

    Attributes:
        name: POSIX path relative to the library, the same on every machine.
        path: Where the file is here.
    """

    name: str
    path: str


def sources() -> list[Source]:
    """List the source files, sorted by name, the shipped one among them.

    Returns:
        A few hundred files.

    Raises:
        ValueError: This Python has no source files of its library.
    """
    root = library()
    found = [
        Source(relative.as_posix(), str(path))
        for path in root.rglob("*.py")
        if not LEFT_OUT.intersection((relative := path.relative_to(root)).parts) and path.is_file()
    ]
    if not found:
        message = (
            f"no source files of the standard library, got {root}; use a Python that has them, "
            "or --function"
        )
        raise ValueError(message)
    return sorted([*found, Source(SHIPPED_NAME, str(SHIPPED))])


def library() -> Path:
    """Return the folder of the standard library."""
    return Path(sysconfig.get_path("stdlib"))


def origin() -> str:
    """Say where the tasks come from."""
    return str(library())


def label(source: Source) -> str:
    """Name a task for people and for its row."""
    return source.name


def measure(source: Source) -> dict[str, object]:
    """Parse, compile, count and compress one source file.

    Args:
        source: The file.

    Returns:
        A row: a value for each of `COLUMNS`; where the file does not parse, only its sizes and the
        error.
    """
    text = Path(source.path).read_bytes()
    row: dict[str, object] = dict.fromkeys(COLUMNS)
    row["module"] = source.name
    row["lines"] = len(text.splitlines())
    row["source_bytes"] = len(text)
    row["compressed_bytes"] = len(zlib.compress(text, ZLIB_LEVEL))
    try:
        tree = ast.parse(text, source.name)
        code = compile(tree, source.name, "exec", dont_inherit=True, optimize=0)
    except (
        SyntaxError,
        ValueError,
        RecursionError,
    ) as error:  # ValueError: null bytes, or bytes that do not decode
        row["error"] = _describe(error)
        return row
    row["bytecode_bytes"] = _bytecode_bytes(code)
    row.update(_count(tree))
    return row


class _Block:
    """A function, or the module's own lines, and the decisions that are directly in it."""

    __slots__ = ("branches", "lines", "name")

    def __init__(self, name: str, lines: int) -> None:
        self.name = name
        self.lines = lines
        self.branches = 0


def _count(tree: ast.Module) -> dict[str, object]:
    """Count in one walk without recursion, so that a deep file costs no stack."""
    module = _Block("", 0)
    functions: list[_Block] = []
    classes = 0
    todo: list[tuple[ast.AST, _Block]] = [(tree, module)]
    while todo:
        node, block = todo.pop()
        block.branches += _decisions(node)
        classes += isinstance(node, ast.ClassDef)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            block = _Block(node.name, (node.end_lineno or node.lineno) - node.lineno + 1)
            functions.append(block)
        todo.extend((child, block) for child in ast.iter_child_nodes(node))
    return _summary(module, functions, classes)


def _summary(module: _Block, functions: list[_Block], classes: int) -> dict[str, object]:
    blocks = [module, *functions]
    longest = min(functions, key=lambda block: (-block.lines, block.name), default=module)
    return {
        "functions": len(functions),
        "classes": classes,
        "branches": sum(block.branches for block in blocks),
        "complexity": sum(block.branches + 1 for block in blocks),
        "highest_complexity": max(block.branches + 1 for block in blocks),
        "longest_function": longest.name,
        "longest_function_lines": longest.lines,
    }


def _decisions(node: ast.AST) -> int:
    """Count the decisions of one node. Source: McCabe 1976, as in radon, `match` by its cases."""
    match node:
        case ast.BoolOp(values=values):
            return len(values) - 1
        case ast.comprehension(ifs=conditions):
            return 1 + len(conditions)
        case ast.match_case(pattern=ast.MatchAs(pattern=None), guard=None):
            return 0
        case ast.If() | ast.IfExp() | ast.For() | ast.AsyncFor() | ast.While():
            return 1
        case ast.ExceptHandler() | ast.Assert() | ast.match_case():
            return 1
    return 0


def _bytecode_bytes(code: CodeType) -> int:
    total = 0
    todo = [code]
    while todo:
        here = todo.pop()
        total += len(here.co_code)
        todo.extend(constant for constant in here.co_consts if isinstance(constant, CodeType))
    return total


def _describe(error: SyntaxError | ValueError | RecursionError) -> str:
    if isinstance(error, SyntaxError):
        return f"{type(error).__name__}: {error.msg} (line {error.lineno})"
    return f"{type(error).__name__}: {error}"


CARD: Final = Card(
    name=DEFAULT_CARD,
    function="adaptive_exec.cards.stdlib:measure",
    tasks="adaptive_exec.cards.stdlib:sources",
    label="adaptive_exec.cards.stdlib:label",
    source="adaptive_exec.cards.stdlib:origin",
    unit="source files",
    columns=COLUMNS,
)
