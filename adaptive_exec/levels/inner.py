"""How many threads numeric libraries may use beside each other, and how they learn of it.

Workers times inner threads are to be at most the cores. In processes libraries read it from the
environment at their import; in threads of this process threadpoolctl tells those that are loaded.
What the user has set wins. Imports little, since every worker imports it.
"""

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

INNER_THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NUMBA_NUM_THREADS",
)
"""Variables by which numeric libraries learn how many threads to use; read at their import."""


def unset_variables() -> list[str]:
    """Name those variables that the user has not set."""
    return [name for name in INNER_THREADS if name not in os.environ]


def limit_loaded(count: int) -> "Any":
    """Hold the numeric libraries that are loaded in this process to so many threads.

    Args:
        count: Threads for each.

    Returns:
        What has `restore_original_limits`; None where nothing is held: the user has set a variable,
        no such library is loaded, or threadpoolctl is not installed.
    """
    if "numpy" not in sys.modules or len(unset_variables()) < len(INNER_THREADS):
        return None
    try:
        import threadpoolctl

        return threadpoolctl.threadpool_limits(count)
    except Exception:  # noqa: BLE001  # not installed, or a library it does not know: it stays as it is
        return None


def limit_this_thread(count: int) -> None:
    """Hold OpenMP in the calling thread to so many threads, as far as it is loaded.

    Args:
        count: Threads for what this thread calls; OpenMP keeps that number for each thread.

    Source: OpenMP 5.2, section 2.3: `nthreads-var` is of the data environment.
    """
    if "numpy" in sys.modules:
        _call_setters(count, ("omp_set_num_threads",))


def insist_on_threads(count: int, names: "Iterable[str]") -> None:
    """Hold numeric libraries to so many threads, those that are loaded and those that come.

    Args:
        count: Threads for each library.
        names: Variables that say otherwise, and not by the user's word.
    """
    for name in names:
        os.environ.pop(name, None)
    limit_loaded(count)
    os.environ.update(dict.fromkeys(names, str(count)))


_SETTERS = {
    "openblas": (
        "openblas_set_num_threads",
        "openblas_set_num_threads64_",
        "scipy_openblas_set_num_threads",
        "scipy_openblas_set_num_threads64_",
    ),
    "libblis": ("bli_thread_set_num_threads",),
    "libmkl_rt": ("MKL_Set_Num_Threads",),
    "libgomp": ("omp_set_num_threads",),
    "libiomp": ("omp_set_num_threads",),
    "libomp": ("omp_set_num_threads",),
}
"""What tells a library how many threads to use, by what its file's name contains. Source: their
manuals; threadpoolctl knows more, and takes 30 ms to load."""


def limit_here(count: int) -> None:
    """Hold the numeric libraries that this process was forked with to so many threads, for good.

    Args:
        count: Threads for each.
    """
    _call_setters(count)


def _call_setters(count: int, only: "tuple[str, ...]" = ()) -> None:
    """Tell the loaded libraries; none where the user has set a variable. `only` names setters."""
    if len(unset_variables()) < len(INNER_THREADS):
        return
    try:
        import _ctypes

        for path, setters in _loaded_setters():
            if only and setters != only:
                continue
            library = _ctypes.dlopen(path, os.RTLD_LAZY)
            for name in setters:
                _try_setter(_ctypes, library, name, count)
    except (ImportError, AttributeError, OSError, ValueError):
        return


def _loaded_setters() -> "list[tuple[str, tuple[str, ...]]]":
    with open("/proc/self/maps") as file:
        paths = {line[line.index("/") :].rstrip() for line in file if ".so" in line}
    found = []
    for path in sorted(paths):
        name = path.rpartition("/")[2]
        found += [(path, setters) for mark, setters in _SETTERS.items() if mark in name]
    return found


def _try_setter(ctypes: "Any", library: int, name: str, count: int) -> None:
    try:
        ctypes.call_function(ctypes.dlsym(library, name), (count,))
    except OSError:
        return  # another of its names is the one
