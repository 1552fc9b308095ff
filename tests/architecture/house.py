"""The package as a graph of imports, read from its source without running it."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "adaptive_exec"


@dataclass(frozen=True, slots=True)
class Import:
    """One imported module by its full name; `nested` when imported inside a function."""

    target: str
    line: int
    nested: bool


def read_modules(package: Path) -> dict[str, ast.Module]:
    """Parse every module of a package; names are full and dotted, `pkg.__init__` is `pkg`."""
    trees = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package.parent).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        trees[name] = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    return trees


def own_imports(name: str, trees: dict[str, ast.Module]) -> list[Import]:
    """List what module `name` imports from its own package, written or through importlib."""
    root = name.partition(".")[0]
    return [found for found in _imports(name, trees) if found.target.split(".")[0] == root]


def foreign_imports(name: str, trees: dict[str, ast.Module]) -> list[Import]:
    """List what module `name` imports from elsewhere."""
    root = name.partition(".")[0]
    return [found for found in _imports(name, trees) if found.target.split(".")[0] != root]


def _imports(name: str, trees: dict[str, ast.Module]) -> Iterator[Import]:
    nested = {
        id(inner)
        for outer in ast.walk(trees[name])
        if isinstance(outer, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        for inner in ast.walk(outer)
    }
    for node in ast.walk(trees[name]):
        for target in _targets(node, name, trees):
            yield Import(target, node.lineno, id(node) in nested)


def _targets(node: ast.AST, name: str, trees: dict[str, ast.Module]) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        base = _base(node, name, trees)
        whole = [f"{base}.{alias.name}" for alias in node.names]
        return [module if module in trees else base for module in whole]
    if isinstance(node, ast.Call):
        return _called(node, name)
    return []


def _base(node: ast.ImportFrom, name: str, trees: dict[str, ast.Module]) -> str:
    if not node.level:
        return node.module or ""
    is_package = any(other.startswith(f"{name}.") for other in trees)
    parts = name.split(".")
    kept = parts[: len(parts) - node.level + is_package]
    return ".".join([*kept, *filter(None, [node.module])])


def _called(node: ast.Call, name: str) -> list[str]:
    called = (
        node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    )
    if called not in {"import_module", "__import__"} or not node.args:
        return []
    first = node.args[0]
    if not isinstance(first, ast.Constant) or not isinstance(first.value, str):
        return []
    return [name + first.value if first.value.startswith(".") else first.value]
