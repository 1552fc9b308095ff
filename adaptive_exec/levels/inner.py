"""How many threads numeric libraries may use beside each other, and how they learn of it.

Workers times inner threads are to be at most the cores. In processes libraries read it from the
environment at their import; in threads of this process threadpoolctl tells those that are loaded.
What the user has set wins. Imports little, since every worker imports it.
"""

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
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
