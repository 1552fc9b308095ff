"""One seed for the hashes of texts in all workers of a program.

A fresh interpreter draws its own, so that `hash(word)` would differ between a worker and the one
that takes its place. The caller's own seed cannot be read, unless PYTHONHASHSEED says it: then
workers hash as the caller does. Imports little, since every worker imports it.
"""

import os
import sys

VARIABLE = "PYTHONHASHSEED"
"""Variable that an interpreter reads when it begins; with -E and -I it does not."""
_SEEDS = (1 << 32) - 1
"""How many seeds there are from 1 on; 0 turns the randomness off. Source: Python's manual, "Command
line and environment"."""
_own: list[int] = []
_seen: set[bool] = set()  # whether workers had the caller's seed, or one of their own


def choose_hash_seed() -> int | None:
    """Return the seed of this program's workers, the same at each call.

    None where the user's environment says which, and workers inherit it.
    """
    if os.environ.get(VARIABLE, "random") not in ("", "random"):
        return None
    if not _own:
        _own.append(int.from_bytes(os.urandom(8), "little") % _SEEDS + 1)
    return _own[0]


def note_workers(*, are_forked: bool) -> bool:
    """Note how workers are started; return whether others of this program hash texts otherwise.

    Args:
        are_forked: Whether they have the caller's seed.
    """
    if not sys.flags.hash_randomization or choose_hash_seed() is None:
        return False
    _seen.add(are_forked)
    return len(_seen) > 1


def set_hash_seed(seed: int | None) -> dict[str, str]:
    """Return what to add to the environment of a new interpreter."""
    return {} if seed is None else {VARIABLE: str(seed)}


def keep_hash_seed(seed: int | None) -> None:
    """Hide the seed from what tasks start, and hand it on to executors that they make (worker)."""
    if seed is not None:
        _own[:] = [seed]
        os.environ.pop(VARIABLE, None)
