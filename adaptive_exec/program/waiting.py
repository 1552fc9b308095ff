"""Do something in a module as soon as it is there, however and whenever it is imported.

A task may import what it needs in its own body; what the program has set there has to be set before
its next line. A finder stands first among the import system's as long as something is waited for,
and passes everything on.
"""

import sys
from functools import partial

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
        try:
            return self._find(module, path, target)
        finally:
            self._sought.discard(module)

    def _find(self, module: str, path: "Any", target: "Any") -> "ModuleSpec | None":
        for finder in list(sys.meta_path):
            find = None if finder is self else getattr(finder, "find_spec", None)
            spec = None if find is None else find(module, path, target)
            if spec is not None:
                self._wrap(spec, module)
                return spec  # type: ignore[no-any-return]  # as the import system asks of all
        return None

    def _wrap(self, spec: "ModuleSpec", module: str) -> None:
        loader: Any = spec.loader
        if loader is None or isinstance(loader, type):  # one of all built-in modules
            return  # `look` finds the module later
        try:
            loader.exec_module = partial(self._load, loader, module, loader.exec_module)
        except AttributeError:  # a loader that takes none, as above
            return

    def _load(self, loader: "Any", name: str, load: "Callable[[Any], None]", module: "Any") -> None:
        vars(loader).pop("exec_module", None)
        load(module)
        self._do(name)

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
