"""Which version this is, of the package and of the Python that runs it."""

import platform
import tomllib
from pathlib import Path


def version_text() -> str:
    """Return one line: package version and Python version."""
    return f"adaptive-exec {_version()} (Python {platform.python_version()})"


def _version() -> str:
    """Read the version beside the source where there is a clone, else what was installed."""
    project = Path(__file__).parents[2] / "pyproject.toml"
    if project.is_file():
        return str(tomllib.loads(project.read_text(encoding="utf-8"))["project"]["version"])
    from importlib import metadata

    try:
        return metadata.version("adaptive-exec")
    except metadata.PackageNotFoundError:
        return "unknown"
