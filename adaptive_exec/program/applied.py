"""What a worker has been told of the program's settings, and what of it is in force.

A setting is applied when it comes for the first time and whenever the program's has changed, so
that what an initializer or a task sets itself stays. One of a package that is not here yet waits
for it. Modules are loaded as in the program before it had set anything that could make that fail:
warnings are no errors then, whatever the program has made of them. Runs in workers; imports little.
"""

import sys
from functools import partial

from adaptive_exec.program.awaited import Arrivals
from adaptive_exec.program.modules import apply_guests, apply_module
from adaptive_exec.program.table import ROWS, fresh_filters, homes_of_filters
from adaptive_exec.program.variables import set_pending
from adaptive_exec.system.pickles import loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

REGISTERED, MODULE, GUESTS = "registered ", "module ", "functions in module "
"""Beginnings of names, as in `program/settings`, which a worker does not import."""
FILTERS = "warning filters"


class Applied:
    """Applies settings in this process."""

    def __init__(self) -> None:
        self._told: dict[str, bytes] = {}
        self._in_force: dict[str, bytes] = {}
        self._late: dict[str, bytes] = {}
        self._arrivals = Arrivals()
        self._fresh_filters: list[Any] | None = None
        self._is_loading = False
        self._due: Any = None

    def begin_here(self, packed: "dict[str, bytes]") -> None:
        """Know that all of it is in force: this process was forked from the caller as it is."""
        self._told = dict(packed)
        self._in_force = dict(packed)
        if "warnings" in sys.modules:
            self._fresh_filters = fresh_filters()

    def take_early(self, packed: "dict[str, bytes]") -> None:
        """Apply what modules are to be loaded under, and keep the rest for `take_late`."""
        self._late = dict(packed)
        self._take(packed, lambda name: name in ROWS and ROWS[name].is_early)

    def take_late(self) -> None:
        """Apply what is left, now that the first modules are loaded."""
        packed, self._late = self._late, {}
        self.take(packed)

    def take(self, packed: "dict[str, bytes]") -> None:
        """Apply what has changed."""
        self._take(packed, lambda _: True)

    def load(self, step: "Callable[[], Any]") -> "Any":
        """Load functions, which may import modules, with the warning filters of a fresh process.

        Raises:
            BaseException: Whatever loading raises.
        """
        warnings, fresh = sys.modules.get("warnings"), self._fresh_filters
        if warnings is None or fresh is None:
            loaded = step()
            set_pending()
            return loaded
        held, self._is_loading = list(warnings.filters), True
        warnings.filters[:] = fresh  # without the mark that all have to warn once more
        try:
            return step()
        finally:
            self._fresh_filters = list(warnings.filters)
            warnings.filters[:] = held
            self._is_loading = False
            self._arrivals.look()
            self._filter_anew(self._due)
            set_pending()

    def _take(self, packed: "dict[str, bytes]", wants: "Callable[[str], bool]") -> None:
        for name, told in packed.items():
            before = self._told.get(name)
            if told != before and wants(name):
                self._told[name] = told
                self._apply(name, told)
        self._arrivals.look()

    def _apply(self, name: str, told: bytes) -> None:
        package = _module_of(name)
        if name in ROWS:
            package = ROWS[name].package
        step = partial(self._try, name, told)
        if package:
            self._arrivals.await_module(package, name, step)
        else:
            step()

    def _try(self, name: str, told: bytes) -> None:
        """Apply one setting; what cannot be applied leaves the worker as it is, and is said."""
        try:
            self._do(name, loads(told), self._in_force.get(name))
            self._in_force[name] = told
        except Exception as error:  # noqa: BLE001  # a package of another version, the user's function
            why = f"{type(error).__name__}: {error}"
            text = f"adaptive_exec: the program's {name} cannot be set here ({why})"
            print(text, file=sys.stderr)  # noqa: T201  # a worker has no log of its own

    def _do(self, name: str, value: "Any", before: bytes | None) -> None:
        if name.startswith(REGISTERED):
            apply, told = value
            apply(told)
            return
        if name.startswith(GUESTS):
            apply_guests(name[len(GUESTS) :], value)
            return
        earlier = None if before is None else loads(before)
        if name.startswith(MODULE):
            apply_module(name[len(MODULE) :], value, earlier)
            return
        if name == FILTERS:
            self._keep_fresh_filters(value)
        ROWS[name].apply(value, earlier)

    def _keep_fresh_filters(self, value: "Any") -> None:
        """Remember how a fresh process filters, and filter anew when a category's module comes."""
        if self._fresh_filters is None:
            self._fresh_filters = list(sys.modules["warnings"].filters)
        for home in homes_of_filters(value):
            self._arrivals.await_module(home, FILTERS, partial(self._filter_anew, value))

    def _filter_anew(self, value: "Any") -> None:
        """Filter by a category that has come; once all is loaded, where something is."""
        self._due = value if self._is_loading else None
        if value is not None and not self._is_loading:
            ROWS[FILTERS].apply(value, None)


def _module_of(name: str) -> str:
    """Return the module that a setting of one is for, `""` for any other setting."""
    for beginning in (MODULE, GUESTS):
        if name.startswith(beginning):
            return name[len(beginning) :]
    return ""
