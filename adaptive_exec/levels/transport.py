"""Functions, arguments and results as bytes, and frames of them over a socket.

Everything travels by pickle protocol 5; what refers to `__main__` or plain pickle refuses travels by cloudpickle.
Each task is packed by itself, so one that cannot be packed harms nobody else. Decides nothing.
"""

import pickle
from collections.abc import Callable
from typing import Any

from adaptive_exec.levels.base import PackedFunction

PROTOCOL = 5
"""Pickle's protocol with out-of-band buffers (PEP 574), in every Python since 3.8."""
_MAIN = b"__main__"


def pack_function(function: Callable[..., Any]) -> PackedFunction | None:
    """Pack a function for processes; None when it cannot be.

    By reference where plain pickle can, by value for lambdas, closures and what lives in `__main__`.
    """
    try:
        payload = pickle.dumps(function, PROTOCOL)
    except Exception:  # noqa: BLE001  # a __reduce__ may raise anything; cloudpickle may do better
        payload = _MAIN
    if _MAIN not in payload:
        return PackedFunction(payload, by_value=False)
    try:
        import cloudpickle  # noqa: PLC0415  # 20 ms, only where it is needed

        return PackedFunction(cloudpickle.dumps(function, PROTOCOL), by_value=True)
    except Exception:  # noqa: BLE001  # not installed, or nothing that pickles can be made of it
        return None
