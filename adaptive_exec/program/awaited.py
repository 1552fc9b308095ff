"""Do something in a module as soon as it is there, however and whenever it is imported.

A task may import what it needs in its own body; what the program has set there has to be set before
its next line. A finder stands first among the import system's as long as something is waited for,
and passes everything on.
"""

import sys

from adaptive_exec.program.arrivals import find_elsewhere

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from importlib.machinery import ModuleSpec
    from typing import Any


class Arrivals:
    """Steps to be done once a module is loaded, by its name and theirs."""

    def __init__(self) -> None:
        self._awaited: dict[str, dict[str, Callable[[], None]]] = {}
        self._sought: set[str] = set()

    def __bool__(self) -> bool:
        """Say whether anything is waited for."""
        return bool(self._awaited)

    def await_module(self, module: str, name: str, step: "Callable[[], None]") -> None:
        """Have a step done now, if the module is there, else once it is; one of a name waits."""
        if is_loaded(module):
            step()
            return
        self._awaited.setdefault(module, {})[name] = step
        if self not in sys.meta_path:
            sys.meta_path.insert(0, self)

    def look(self) -> None:
        """Do what is due for modules that came past the finder."""
        for module in [module for module in self._awaited if is_loaded(module)]:
            self._do(module)

    def forget(self) -> None:
        """Wait for nothing any more."""
        self._awaited.clear()
        if self in sys.meta_path:
            sys.meta_path.remove(self)

    def find_spec(
        self, module: str, path: "Any" = None, target: "Any" = None
    ) -> "ModuleSpec | None":
        """Find a module by the other finders, and have its loader tell when it is loaded."""
        if module not in self._awaited or module in self._sought:
            return None
        self._sought.add(module)  # another finder of this kind asks us in its turn
        try:  # where no step can be added `look` finds the module later
            return find_elsewhere(self, module, path, target, step=lambda _: self._do(module))
        finally:
            self._sought.discard(module)

    def _do(self, module: str) -> None:
        for step in self._awaited.pop(module, {}).values():
            step()
        if not self._awaited and self in sys.meta_path:
            sys.meta_path.remove(self)


def is_loaded(module: str) -> bool:
    """Say whether a module is there, and its lines were all run."""
    there = sys.modules.get(module)
    if there is None:
        return False
    return not getattr(getattr(there, "__spec__", None), "_initializing", False)
