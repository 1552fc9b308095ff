"""Which modules of this program workers cannot import: their functions travel by value.

`__main__`, what was loaded by path, modules that were put into `sys.modules` by hand, and those
that are being imported by whoever calls: a worker's import would run the very call once more, and
an import here would wait for its own end. Imports little, since every worker imports it.
"""

import sys
from types import FrameType, ModuleType

_ALWAYS = frozenset({"__main__", "__mp_main__"})
"""The second is what multiprocessing calls a script in its own children."""


OBJECT_MARK = b"\x8c\x06object\x94\x93"
"""What stands in a pickle of protocol 4 and later that has an `object()`: a short text, which is
put into the memo, as the name of a global. Such an object may have a name in a module."""


class Places:
    """Looks at modules once each.

    Attributes:
        marks: What a pickle that names a strange module contains.
        under_way: Strange modules that were being imported when they were looked at.
    """

    def __init__(self) -> None:
        self.under_way: frozenset[str] = frozenset()
        self._seen: set[str] = set()
        self._count = -1
        self._strange: set[str] = {"__main__"}
        self._registered: frozenset[str] = frozenset()
        self.marks: tuple[bytes, ...] = (b"__main__", OBJECT_MARK)

    def look(self) -> tuple[bytes, ...]:
        """Look at modules that are new; return what a pickle that names a strange one contains."""
        registered = _registered()
        if len(sys.modules) != self._count or registered != self._registered:
            self._count = len(sys.modules)
            self._registered = registered
            self._look_at([name for name in list(sys.modules) if name not in self._seen])
            self.marks = (OBJECT_MARK, *sorted(map(str.encode, self._strange | registered)))
        return self.marks

    def _look_at(self, names: list[str]) -> None:
        for name in names:
            is_text = name.__class__ is str
            if is_text and _is_under_way(name):
                if not _bodies_here() & {name, name.partition(".")[0]}:
                    self._count = -1  # another thread imports it, and it can be imported then
                    continue
                self._strange.add(name)
                self.under_way |= {name}
            self._seen.add(name)
            if is_text and _is_strange(name):
                self._strange.add(name)

    def would_wait(self) -> bool:
        """Say whether to pickle a name of a strange module would wait for its import's end."""
        self.under_way = frozenset(filter(_is_under_way, self.under_way))
        return bool(self.under_way)

    def add(self, name: str) -> None:
        """Note a module that was made here as one of the caller's."""
        self._seen.add(name)
        if name not in self._strange:
            self._strange.add(name)
            self.marks = (*self.marks, name.encode())

    def is_strange(self, name: object) -> bool:
        """Say whether workers cannot import a module."""
        if name in self._strange:
            return True
        registered = _registered()
        if not registered or not isinstance(name, str):
            return False
        return any(name == one or name.startswith(f"{one}.") for one in registered)

    @property
    def strange(self) -> frozenset[str]:
        """Modules that workers cannot import, as far as they have been looked at."""
        return frozenset(self._strange)

    def strange_among(self, words: frozenset[str]) -> set[str]:
        """Return those of some words that name modules which workers cannot import."""
        return set(words & (self._strange | self._registered))


def _registered() -> frozenset[str]:
    """Return the modules that the user has told cloudpickle to send by value."""
    cloudpickle = sys.modules.get("cloudpickle.cloudpickle")
    return frozenset(getattr(cloudpickle, "_PICKLE_BY_VALUE_MODULES", ()) or ())


def _is_under_way(name: str) -> bool:
    """Say whether a module, or the package that it is in, is being imported."""
    for one in {name, name.partition(".")[0]}:
        spec = getattr(sys.modules.get(one), "__spec__", None)
        if getattr(spec, "_initializing", False) is True:
            return True
    return False


def _bodies_here() -> set[str]:
    """Return the modules whose code this thread runs by now."""
    names: set[str] = set()
    frame: FrameType | None = sys._getframe()  # noqa: SLF001  # there is no other way
    while frame is not None:
        if frame.f_code.co_name == "<module>":
            names.add(str(frame.f_globals.get("__name__")))
        frame = frame.f_back
    return names


def _is_strange(name: str) -> bool:
    if name in _ALWAYS:
        return True
    top = name.partition(".")[0]
    if top != name and top in sys.modules:
        return _is_strange(top)
    module = sys.modules.get(name)
    if not isinstance(module, ModuleType) or name in sys.builtin_module_names:
        return False
    spec = getattr(module, "__spec__", None)
    if spec is not None and _is_ordinary(spec):
        return False
    return not _can_be_found(top)


def _is_ordinary(spec: object) -> bool:
    """Say whether a module's file lies where imports look for it, or it needs none."""
    origin = getattr(spec, "origin", None)
    if origin in ("built-in", "frozen"):
        return True
    if not isinstance(origin, str):
        return False
    folder, _, file = origin.replace("\\", "/").rpartition("/")
    name = str(getattr(spec, "name", ""))
    if file.startswith("__init__."):
        folder, _, file = folder.rpartition("/")
    return file.partition(".")[0] == name and folder in sys.path


def _can_be_found(name: str) -> bool:
    for finder in list(sys.meta_path):
        try:
            if finder.find_spec(name, None) is not None:
                return True
        except Exception:  # noqa: BLE001, S112  # a finder of the user's may raise anything
            continue
    return False


PLACES = Places()
