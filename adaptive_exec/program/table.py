"""The table of settings that change what a program computes: how each is read, packed and applied.

A row is read in the caller at the start of a batch, so reading is cheap: it returns what is there,
which is packed only where it differs from what was read before. It is applied in workers, where the
package it belongs to is there. Rows of packages never import one. Imports little, since every
worker imports it.
"""

import _io
import os
import sys
from operator import attrgetter, eq

from adaptive_exec.program.variables import pack_variables, read_variables, set_variables

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


READINGS_MANY = 32
"""Readings of the working folder from which on they are many."""
FOLDER_BYTES_MAX = 4096
"""Bytes; a longer name is read the slow way. Source: Linux's PATH_MAX."""
NOT_READ = object()
"""Stands for what was not read yet."""


class Row:
    """One setting.

    Attributes:
        package: The module it belongs to; `""` for the interpreter.
        read: Returns what is there now; raises where it cannot be read.
        apply: Called with the packed value and the one before, None where that is what a fresh
            interpreter has.
        pack: Makes of a value what can be pickled; None where it is what a fresh interpreter has.
        copy: Makes a copy of a value that the program may change.
        same: Says whether a value is still equal to its copy.
        is_rich: True where a value may hold functions or objects of the program's own.
        is_sharp: True where it is set from call to call, so that it is read for each.
        is_early: True where modules are to be imported under it, as the caller's were.
        is_slow: True where reading takes more than a few microseconds.
    """

    __slots__ = (
        "apply",
        "copy",
        "is_early",
        "is_rich",
        "is_sharp",
        "is_slow",
        "pack",
        "package",
        "read",
        "same",
    )

    def __init__(
        self,
        read: "Callable[[], Any]",
        apply: "Callable[[Any, Any], None]",
        *,
        package: str = "",
        pack: "Callable[[Any], Any]" = lambda value: value,
        copy: "Callable[[Any], Any]" = lambda value: value,
        same: "Callable[[Any, Any], Any]" = eq,
        is_early: bool = False,
        is_rich: bool = False,
        is_sharp: bool = False,
        is_slow: bool = False,
    ) -> None:
        self.read = read
        self.apply = apply
        self.package = package
        self.pack = pack
        self.copy = copy
        self.same = same
        self.is_early = is_early
        self.is_rich = is_rich
        self.is_sharp = is_sharp
        self.is_slow = is_slow


def _module(name: str) -> "Any":
    """Return a module that is loaded, or is loaded with its package."""
    return sys.modules[name]


# the process


class _FolderReader:
    """Reads the working folder; often, then without letting go of the interpreter's lock.

    `os.getcwd` lets other threads run, who keep the lock for longer than the call takes: 48 us for
    each of many submitted calls, 2 us this way. The first readings do without, as `ctypes` takes
    some milliseconds to load.
    """

    def __init__(self) -> None:
        self._readings = 0
        self._call: Any = None
        self._text: Any = None
        self._known = (b"", "")

    def __call__(self) -> str:
        self._readings += 1
        if self._readings == READINGS_MANY:
            self._prepare()
        if self._call is None or not self._call(self._text, FOLDER_BYTES_MAX):
            return _read_any_folder()
        name = self._text.value
        if name != self._known[0]:
            self._known = name, os.fsdecode(name)
        return self._known[1]

    def _prepare(self) -> None:
        try:
            import ctypes

            call = ctypes.PyDLL(None).getcwd
        except (ImportError, OSError, AttributeError, TypeError):  # no such library here
            return
        call.restype = ctypes.c_void_p
        self._text = ctypes.create_string_buffer(FOLDER_BYTES_MAX)
        self._call = call


_read_folder = _FolderReader()


def _read_any_folder() -> str:
    try:
        return os.getcwd()
    except OSError:  # it was removed
        return ""


def _apply_folder(value: str, _before: object) -> None:
    if value and value != _read_folder():
        os.chdir(value)


def _read_environment() -> "dict[Any, Any]":
    space: dict[Any, Any] = os.environ._data  # type: ignore[attr-defined]  # noqa: SLF001  # as below
    return space  # a copy takes 20 us, a look 0.3


def _apply_environment(value: "dict[Any, Any]", before: "dict[Any, Any] | None") -> None:
    """Set what has changed; what a worker has of its own (caps of threads) stays."""
    space: Any = getattr(os, "environb", os.environ)
    for name in (before or {}).keys() - value.keys():
        space.pop(name, None)
    known = space if before is None else before
    for name, text in value.items():
        if known.get(name) != text:
            space[name] = text


def _read_path() -> "list[str]":
    return sys.path


def _texts_of(path: "list[Any]") -> "list[str]":
    return [entry for entry in path if isinstance(entry, str)]  # imports pass others over


def _apply_path(value: "list[str]", _before: object) -> None:
    if value != sys.path:
        sys.path[:] = value


class _RawFile(_io.FileIO):
    """A file that closes itself should a signal's handler raise before anybody has it."""

    def __del__(self) -> None:
        self.close()


def _read_umask() -> int:
    """Read the mask without setting it, which another thread's files would suffer from.

    Raises:
        OSError: It cannot be read; the others likewise, where there is no such file.
        IndexError: The kernel does not tell of it.
    """
    # Not by `open`, which asks the system seven times, and other threads run each time.
    with _RawFile("/proc/self/status") as file:
        text = file.read(400)
    return int(text.partition(b"Umask:")[2].split(None, 1)[0], 8)


def _apply_umask(value: int, _before: object) -> None:
    os.umask(value)


def _read_locale() -> str | None:
    here = _module("_locale")
    return here.setlocale(here.LC_ALL, None)  # type: ignore[no-any-return]


def _apply_locale(value: str, _before: object) -> None:
    if value != _read_locale():
        here = _module("_locale")
        here.setlocale(here.LC_ALL, value)


def _apply_recursion_limit(value: int, _before: object) -> None:
    sys.setrecursionlimit(value)


def _apply_digits(value: int, _before: object) -> None:
    sys.set_int_max_str_digits(value)


def _read_socket_timeout() -> float | None:
    return _module("_socket").getdefaulttimeout()  # type: ignore[no-any-return]


def _apply_socket_timeout(value: float | None, _before: object) -> None:
    _module("_socket").setdefaulttimeout(value)


# decimal

_FIELDS = attrgetter("prec", "rounding", "Emin", "Emax", "capitals", "clamp")
_DECIMAL = ((28, "ROUND_HALF_EVEN", -999999, 999999, 1, 0),
            ("InvalidOperation", "DivisionByZero", "Overflow"))  # fmt: skip
"""The context of a fresh interpreter. Source: decimal's manual, "DefaultContext"."""


def _read_decimal() -> "Any":
    return _module("decimal").getcontext()


def _read_decimal_default() -> "Any":
    return _module("decimal").DefaultContext


def _copy_decimal(context: "Any") -> "Any":
    return context.copy()


def _is_same_decimal(context: "Any", copy: "Any") -> bool:
    """Compare what decides about results, which the flags do not; 0.7 us."""
    return (
        copy is not NOT_READ
        and context.prec == copy.prec
        and context.rounding == copy.rounding
        and _FIELDS(context) == _FIELDS(copy)
        and context.traps == copy.traps
    )


def _pack_decimal(context: "Any") -> "tuple[Any, ...] | None":
    traps = tuple(signal.__name__ for signal, traps in context.traps.items() if traps)
    packed = (_FIELDS(context), traps)
    is_fresh = packed[0] == _DECIMAL[0] and set(traps) == set(_DECIMAL[1])
    return None if is_fresh else packed


def _apply_decimal(value: "tuple[Any, ...] | None", _before: object) -> None:
    decimal = _module("decimal")
    context = decimal.Context()
    _set_decimal(context, value or _DECIMAL)
    decimal.setcontext(context)


def _apply_decimal_default(value: "tuple[Any, ...] | None", _before: object) -> None:
    _set_decimal(_module("decimal").DefaultContext, value or _DECIMAL)


def _set_decimal(context: "Any", told: "tuple[Any, ...]") -> None:
    fields, traps = told
    for name, value in zip(
        ("prec", "rounding", "Emin", "Emax", "capitals", "clamp"), fields, strict=True
    ):
        setattr(context, name, value)
    for signal in list(context.traps):
        context.traps[signal] = signal.__name__ in traps


# warnings


def _read_filters() -> "list[Any]":
    return _module("warnings").filters  # type: ignore[no-any-return]


def _pack_filters(filters: "list[Any]") -> "list[Any]":
    return [
        (action, _text_of(message), (kind.__module__, kind.__qualname__), _text_of(module), line)
        for action, message, kind, module, line in filters
    ]


def _text_of(pattern: "Any") -> "Any":
    """Return a regular expression as what it is compiled from."""
    is_text = pattern is None or isinstance(pattern, str)
    return pattern if is_text else (pattern.pattern, pattern.flags)


def _apply_filters(value: "list[Any]", _before: object) -> None:
    """Filter as the caller does; of a category whose module is not here, none can be warned."""
    warnings = _module("warnings")
    filters = []
    for action, message, (home, name), module, line in value:
        kind = _find(home, name)
        if kind is not None:
            filters.append((action, _pattern_of(message), kind, _pattern_of(module), line))
    if filters != warnings.filters:
        warnings.resetwarnings()  # has every module forget what it has warned of
        warnings.filters.extend(filters)


def homes_of_filters(value: "list[Any]") -> "set[str]":
    """Name the modules that are not here, of whose warnings packed filters speak."""
    homes = {home for _, _, (home, _), _, _ in value}
    return {home for home in homes if home not in sys.modules}


def fresh_filters() -> "list[Any]":
    """Return how a fresh interpreter filters.

    Source: the manual of `warnings`, "Default Warning Filter".
    """
    ignored = (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning)
    return [
        ("default", None, DeprecationWarning, "__main__", 0),
        *(("ignore", None, kind, None, 0) for kind in ignored),
    ]


def _pattern_of(text: "Any") -> "Any":
    if text is None or isinstance(text, str):
        return text
    import re

    return re.compile(*text)


def _find(module: str, name: str) -> "Any":
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    return found


# logging

_LOGGING = (30, 0, ())
_LEVEL_OF = attrgetter("level", "disabled", "propagate")
_OF_NEW_LOGGER = (0, False, True)


def _read_logging() -> "tuple[Any, ...]":
    logging = _module("logging")
    manager, root = logging.Logger.manager, logging.root
    loggers = [
        (name, _LEVEL_OF(one))
        for name, one in list(manager.loggerDict.items())
        if hasattr(one, "level") and (one.level or one.disabled or not one.propagate)
    ]
    return root.level, manager.disable, tuple(loggers)


def _pack_logging(value: "tuple[Any, ...]") -> "tuple[Any, ...] | None":
    return None if value == _LOGGING else value


def _apply_logging(value: "tuple[Any, ...] | None", before: "tuple[Any, ...] | None") -> None:
    logging = _module("logging")
    was, now = before or _LOGGING, value or _LOGGING
    if was[0] != now[0]:
        logging.root.setLevel(now[0])
    if was[1] != now[1]:
        logging.disable(now[1])
    earlier, later = dict(was[2]), dict(now[2])
    for name in earlier.keys() | later.keys():
        told = later.get(name, _OF_NEW_LOGGER)
        if told != earlier.get(name, _OF_NEW_LOGGER):
            logger = logging.getLogger(name)
            logger.setLevel(told[0])
            logger.disabled, logger.propagate = told[1:]


_LEVEL_NAMES = {
    50: "CRITICAL", 40: "ERROR", 30: "WARNING", 20: "INFO", 10: "DEBUG", 0: "NOTSET",
}  # fmt: skip
"""What a fresh interpreter has. Source: the manual of `logging`, "Logging Levels"."""


def _read_level_names() -> "dict[int, str]":
    return _module("logging")._levelToName  # type: ignore[no-any-return]  # noqa: SLF001  # there is no public way


def _pack_level_names(value: "dict[int, str]") -> "dict[int, str] | None":
    return None if value == _LEVEL_NAMES else value


def _apply_level_names(value: "dict[int, str] | None", _before: object) -> None:
    for level, name in (value or _LEVEL_NAMES).items():
        _module("logging").addLevelName(level, name)


# csv

_DIALECT_FIELDS = (
    "delimiter", "doublequote", "escapechar", "lineterminator", "quotechar", "quoting",
    "skipinitialspace", "strict",
)  # fmt: skip
_DIALECT_OF = attrgetter(*_DIALECT_FIELDS)
_OWN_DIALECTS = frozenset({"excel", "excel-tab", "unix"})
"""Those that the module registers itself. Source: Lib/csv.py."""


def _read_dialects() -> "dict[str, Any]":
    here = _module("_csv")
    return {name: here.get_dialect(name) for name in here.list_dialects()}


def _pack_dialects(value: "dict[str, Any]") -> "dict[str, Any] | None":
    packed = {name: _DIALECT_OF(one) for name, one in value.items() if name not in _OWN_DIALECTS}
    return packed or None


def _apply_dialects(value: "dict[str, Any] | None", before: "dict[str, Any] | None") -> None:
    here, value = _module("_csv"), value or {}
    for name in (before or {}).keys() - value.keys():
        here.unregister_dialect(name)
    for name, fields in value.items():
        here.register_dialect(name, **dict(zip(_DIALECT_FIELDS, fields, strict=True)))


# NumPy, pandas, Matplotlib, scikit-learn

_ERRSTATE = {"divide": "warn", "over": "warn", "under": "ignore", "invalid": "warn"}
_PRINT: "dict[str, Any]" = {
    "edgeitems": 3, "threshold": 1000, "floatmode": "maxprec", "precision": 8, "suppress": False,
    "linewidth": 75, "nanstr": "nan", "infstr": "inf", "sign": "-", "formatter": None,
    "legacy": False, "override_repr": None,
}  # fmt: skip
"""What a fresh NumPy has. Source: its manual, `seterr` and `set_printoptions`."""


def _read_errstate() -> "Any":
    """Return NumPy's state of errors: since 2.0 an object that is another when it is set."""
    umath = sys.modules.get("numpy._core.umath")
    variable = getattr(umath, "_extobj_contextvar", None)
    return _module("numpy").geterr() if variable is None else variable.get()


def _pack_errstate(_value: object) -> "dict[str, str] | None":
    state = _module("numpy").geterr()
    return None if state == _ERRSTATE else state


def _apply_errstate(value: "dict[str, str] | None", _before: object) -> None:
    _module("numpy").seterr(**(value or _ERRSTATE))


def _read_print_options() -> "Any":
    options = sys.modules.get("numpy._core.printoptions")
    variable = getattr(options, "format_options", None)
    return _module("numpy").get_printoptions() if variable is None else variable.get()


def _pack_print_options(_value: object) -> "dict[str, Any] | None":
    options = _module("numpy").get_printoptions()
    return _drop_fresh(options, _PRINT)


def _apply_print_options(value: "dict[str, Any] | None", before: "dict[str, Any] | None") -> None:
    fresh = {name: _PRINT.get(name) for name in before or ()}
    _module("numpy").set_printoptions(**{**fresh, **(value or {})})


def _drop_fresh(values: "dict[str, Any]", fresh: "dict[str, Any]") -> "dict[str, Any] | None":
    return {
        name: value for name, value in values.items() if value != fresh.get(name, value)
    } or None


def _copy_tree(tree: "Any") -> "Any":
    if type(tree) is not dict:
        return tree
    return {name: _copy_tree(value) for name, value in tree.items()}


def _read_pandas() -> "Any":
    return _module("pandas._config.config")._global_config  # noqa: SLF001  # 1 us; asked one by one 60


def _fresh_pandas() -> "dict[str, Any]":
    config = _module("pandas._config.config")
    return {name: one.defval for name, one in config._registered_options.items()}  # noqa: SLF001


def _pack_pandas(value: "dict[str, Any]") -> "dict[str, Any] | None":
    return _drop_fresh(_flatten(value), _fresh_pandas())


def _flatten(tree: "dict[str, Any]", prefix: str = "") -> "dict[str, Any]":
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        if type(value) is dict:
            flat |= _flatten(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat


def _apply_pandas(value: "dict[str, Any] | None", before: "dict[str, Any] | None") -> None:
    pandas, value, before = _module("pandas"), value or {}, before or {}
    fresh = _fresh_pandas()
    for name in before.keys() | value.keys():
        wanted = value.get(name, fresh.get(name))
        if name in fresh and (name not in before or wanted != before[name]):
            pandas.set_option(name, wanted)


def _read_matplotlib() -> "Any":
    return _module("matplotlib").rcParams


def _is_same_matplotlib(params: "Any", copy: "Any") -> bool:
    return copy is not NOT_READ and dict.__eq__(params, copy) is True


def _pack_matplotlib(value: "dict[str, Any]") -> "dict[str, Any] | None":
    return _drop_fresh(value, dict.copy(_module("matplotlib").rcParamsOrig))


def _apply_matplotlib(value: "dict[str, Any] | None", before: "dict[str, Any] | None") -> None:
    matplotlib, value, before = _module("matplotlib"), value or {}, before or {}
    fresh = dict.copy(matplotlib.rcParamsOrig)
    changes = {name: fresh[name] for name in before.keys() - value.keys()}
    changes |= {
        name: wanted
        for name, wanted in value.items()
        if name not in before or wanted != before[name]
    }
    backend = changes.pop("backend", None)
    matplotlib.rcParams.update(changes)
    if isinstance(backend, str):
        matplotlib.use(backend, force=False)


def _read_sklearn() -> "Any":
    return _module("sklearn._config")._get_threadlocal_config()  # noqa: SLF001  # a copy takes 3 us


def _apply_sklearn(value: "dict[str, Any]", _before: object) -> None:
    config = _module("sklearn._config")
    config._global_config.update(value)  # noqa: SLF001  # for threads that tasks start
    config._get_threadlocal_config().update(value)  # noqa: SLF001  # as above


ROWS = {
    "environment": Row(
        _read_environment, _apply_environment, copy=dict, pack=dict, is_early=True, is_sharp=True
    ),
    "folder": Row(_read_folder, _apply_folder, is_early=True, is_sharp=True),
    "path": Row(_read_path, _apply_path, copy=list, pack=_texts_of, is_early=True),
    "umask": Row(_read_umask, _apply_umask, is_early=True, is_slow=True),
    "locale": Row(_read_locale, _apply_locale, package="_locale", is_early=True),
    "recursion limit": Row(sys.getrecursionlimit, _apply_recursion_limit, is_early=True),
    "digits of numbers": Row(sys.get_int_max_str_digits, _apply_digits, is_early=True),
    "socket timeout": Row(_read_socket_timeout, _apply_socket_timeout, package="_socket"),
    "decimal": Row(
        _read_decimal, _apply_decimal, copy=_copy_decimal, same=_is_same_decimal,
        pack=_pack_decimal, package="decimal", is_sharp=True,
    ),
    "decimal of new threads": Row(
        _read_decimal_default, _apply_decimal_default, copy=_copy_decimal, same=_is_same_decimal,
        pack=_pack_decimal, package="decimal", is_slow=True,
    ),
    "context variables": Row(
        read_variables, set_variables, pack=pack_variables, is_sharp=True
    ),
    "warning filters": Row(
        _read_filters, _apply_filters, copy=list, pack=_pack_filters, package="warnings"
    ),
    "logging": Row(_read_logging, _apply_logging, pack=_pack_logging, package="logging"),
    "names of log levels": Row(
        _read_level_names, _apply_level_names, copy=dict, pack=_pack_level_names, package="logging"
    ),
    "dialects of CSV": Row(
        _read_dialects, _apply_dialects, pack=_pack_dialects, package="_csv"
    ),
    "NumPy errstate": Row(_read_errstate, _apply_errstate, pack=_pack_errstate, package="numpy"),
    "NumPy print options": Row(
        _read_print_options, _apply_print_options, pack=_pack_print_options, package="numpy",
        is_rich=True,
    ),
    "pandas options": Row(
        _read_pandas, _apply_pandas, copy=_copy_tree, pack=_pack_pandas, package="pandas",
        is_rich=True,
    ),
    "Matplotlib rcParams": Row(
        _read_matplotlib, _apply_matplotlib,
        copy=dict.copy,
        same=_is_same_matplotlib,
        pack=_pack_matplotlib, package="matplotlib", is_rich=True,
    ),
    "scikit-learn configuration": Row(
        _read_sklearn, _apply_sklearn, copy=dict, pack=dict, package="sklearn._config"
    ),
}  # fmt: skip
"""Every setting by its name. Source of each: the manual of what it belongs to; the cost of reading
them all is 5 us where nothing but the standard library is loaded (tests/program)."""
