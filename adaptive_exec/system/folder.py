"""The ledger's folder: one per user and host, ours alone, or the next place is taken.

The place does not depend on a login, a shell or a service, so that all of a user's programs meet:
neither `XDG_RUNTIME_DIR`, which cron has not and which goes with the last login, nor `TMPDIR`,
which notebooks and services set, nor `/tmp`, which systemd gives a service of its own. Containers
meet there if they share it, as those of a pod do. Named after user and boot.
"""

import os
from collections.abc import Iterator
from typing import Final

from adaptive_exec.system.identity import this_process
from adaptive_exec.system.private import check_folder, make_folder

PLACE_VARIABLE: Final = "ADAPTIVE_EXEC_LEDGER"
"""Environment variable that names another place, as for containers that share a limit and nothing
else but a volume."""
PLACES: Final = ("/dev/shm", "/run/user/{user}", "/tmp")  # noqa: S108  # ours alone, or refused
"""Where it may be, best first; a later one is for hosts on which an earlier one cannot be used."""
_BOOT_LETTERS: Final = 8
"""Letters of a boot's random id, enough to tell the boots of one host apart."""


def open_folder() -> str:
    """Return the folder of this user on this host, made where it was missing.

    Raises:
        NotOursError: It belongs to somebody else, or others may write to it.
        OSError: It cannot be made anywhere.
    """
    trouble: OSError | None = None
    for path in folder_paths():
        try:
            make_folder(path)
        except OSError as error:
            trouble = trouble or error
        else:
            return path
    assert trouble is not None, "there is a place, and it was refused"
    raise trouble


def find_folder() -> str:
    """Return the folder that is used, `""` where there is none yet."""
    for path in folder_paths():
        try:
            check_folder(path)
        except OSError:
            continue
        return path
    return ""


def folder_paths() -> Iterator[str]:
    """Yield where the ledger of this user on this host may be, best first."""
    chosen = os.environ.get(PLACE_VARIABLE, "")
    user = os.geteuid() if hasattr(os, "geteuid") else 0
    here = this_process()
    name = f"adaptive_exec-{user}-{(here.boot or here.machine)[:_BOOT_LETTERS]}"
    for place in (chosen,) if chosen else [place.format(user=user) for place in PLACES]:
        yield f"{place}/{name}"
