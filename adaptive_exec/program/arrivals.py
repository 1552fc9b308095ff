"""Does something with a module when it is there: at once, or when it is first imported.

So that a worker costs nothing for what its tasks never use. Imports nothing; decides nothing.
"""

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from importlib.machinery import ModuleSpec
    from typing import Any

    Step = Callable[[Any], object]


def when_imported(name: str, step: "Step") -> None:
    """Have a step run with a module, now if it is loaded, else as soon as it is.

    Args:
        name: The module's full name.
        step: Called with the module, after its own code has run; at each import anew.
    """
    module = sys.modules.get(name)
    if module is not None:
        step(module)
    _awaited[name] = step
    if _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)


class _Finder:
    """Asks the other finders, and has the step run behind the module's own code."""

    def find_spec(self, name: str, path: "Any" = None, target: "Any" = None) -> "Any":
        """Find one of the modules that are awaited; all others are not ours."""
        if name not in _awaited:
            return None
        step = _awaited.pop(name)  # another finder may ask us in turn
        try:
            return find_elsewhere(self, name, path, target, step=step)
        finally:
            _awaited[name] = step


def find_elsewhere(
    finder: object, name: str, path: "Any", target: "Any", *, step: "Step"
) -> "ModuleSpec | None":
    """Find a module by the other finders, and have a step run with it behind its own code.

    Args:
        finder: The one that asks.
        name: The module's full name.
        path: As the import system has it.
        target: As the import system has it.
        step: Called with the module; never where its loader belongs to other modules, too.

    Returns:
        What the others have found, None where they know nothing of it.
    """
    for other in list(sys.meta_path):
        find = None if other is finder else getattr(other, "find_spec", None)
        spec = None if find is None else find(name, path, target)
        if spec is not None:
            _add_step(spec.loader, step)
            return spec  # type: ignore[no-any-return]  # as the import system asks of all
    return None


def _add_step(loader: "Any", step: "Step") -> None:
    execute = getattr(loader, "exec_module", None)
    if execute is None or isinstance(loader, type):  # one of all built-in modules
        return

    def execute_and_step(module: "Any") -> None:
        vars(loader).pop("exec_module", None)
        execute(module)
        step(module)

    try:
        loader.exec_module = execute_and_step  # a loader of source files belongs to one module
    except AttributeError:
        return  # one of C


_awaited: "dict[str, Step]" = {}
_finder = _Finder()
