"""Does something with a module when it is there: at once, or when it is first imported.

So that a worker costs nothing for what its tasks never use. Imports nothing; decides nothing.
"""

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
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
            for finder in list(sys.meta_path):
                find = None if finder is self else getattr(finder, "find_spec", None)
                spec = None if find is None else find(name, path, target)
                if spec is not None:
                    _add_step(spec, step)
                    return spec
        finally:
            _awaited[name] = step
        return None


def _add_step(spec: "Any", step: "Step") -> None:
    loader = spec.loader
    execute = getattr(loader, "exec_module", None)
    if execute is None or isinstance(loader, type):  # shared by many modules
        return

    def execute_and_step(module: "Any") -> None:
        execute(module)
        step(module)

    try:
        loader.exec_module = execute_and_step  # a loader of source files belongs to one module
    except AttributeError:
        return  # one of C: none of what is awaited is such a module


_awaited: "dict[str, Step]" = {}
_finder = _Finder()
