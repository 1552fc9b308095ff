"""Tell whether the Python that runs this file can run the package from its clone.

Exit code 0: it can; 1: a dependency is missing or too old, which is printed. Reads the dependencies
from pyproject.toml, so they stand in one place. Run as a file, by run_card.sh, before anything is
installed.
"""

import re
import sys
import tomllib
from importlib import metadata
from pathlib import Path


def missing() -> list[str]:
    """Return the dependencies of pyproject.toml that are not there, or too old."""
    project = Path(__file__).resolve().parents[2] / "pyproject.toml"
    wanted = tomllib.loads(project.read_text(encoding="utf-8"))["project"]["dependencies"]
    return [text for text in wanted if not _is_there(text)]


def _is_there(requirement: str) -> bool:
    """Look at name and least version; extras and markers are not used by this project."""
    found = re.fullmatch(r"\s*([\w.-]+)\s*(?:>=\s*([\d.]+))?\s*", requirement)
    if found is None:
        return False
    try:
        version = metadata.version(found[1])
    except metadata.PackageNotFoundError:
        return False
    return _numbers(version) >= _numbers(found[2] or "0")


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:3])


if __name__ == "__main__":
    gaps = missing()
    sys.stdout.write("".join(f"{gap}\n" for gap in gaps))
    sys.exit(1 if gaps else 0)
