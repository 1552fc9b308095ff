"""Finds out whether a kill of the kernel's for memory ends more than the one process.

Control groups of version 2 may be killed as a whole (`memory.oom.group`; Kubernetes sets it), and
systemd ends a unit in which the kernel has killed, unless its `OOMPolicy` says to continue. What a
namespace hides cannot be known. Decides nothing.

Source: kernel Documentation/admin-guide/cgroup-v2.rst; man 5 systemd.service, systemd.scope
(`OOMPolicy=`), systemd.unit (where units lie), systemd-system.conf (`DefaultOOMPolicy=`).
"""

import os
from collections.abc import Iterator, Sequence
from typing import Final

from adaptive_exec.host.cgroup import ControlGroup
from adaptive_exec.host.reading import join, read_file, read_number

_UNITS: Final = (".service", ".scope")
"""Kinds of units that processes are in."""
_LASTING: Final = ("/usr/lib/systemd", "/lib/systemd", "/run/systemd", "/etc/systemd")
"""Where units and their settings lie, weakest first."""
_TRANSIENT: Final = ("/run/systemd/transient", "/etc/systemd/system.control")
_CONTINUE: Final = "continue"


def read_wide_kill(root: str, groups: Sequence[ControlGroup]) -> str:
    """Say what ends more than one process when the kernel kills for memory.

    Args:
        root: Folder that stands for `/`.
        groups: The groups that limit memory, own one first.

    Returns:
        The file or unit that says so, `""` where a kill is of one process, or nothing tells.
    """
    second = [group for group in groups if group.version == 2]  # noqa: PLR2004  # a name
    for group in second[: _reach(second)]:
        if read_number(f"{group.folder}/memory.oom.group"):
            return group.source("memory.oom.group")
    return _read_unit(root, second[0]) if second else ""


def _reach(groups: Sequence[ControlGroup]) -> int:
    """Return how many groups are killed at a limit of theirs; all where none has one."""
    limited = [
        place for place, group in enumerate(groups, 1) if read_number(f"{group.folder}/memory.max")
    ]
    return max(limited, default=len(groups))


def is_delegated(root: str, group: ControlGroup) -> bool:
    """Say whether a group is that of a systemd unit which has been handed over to it."""
    unit, settings = _read_settings_of(root, group)
    return bool(unit) and group.name.endswith(f"/{unit}") and _says_delegated(settings)


def _read_unit(root: str, group: ControlGroup) -> str:
    """Name the systemd unit that a group is in or below, where a kill ends it; else `""`."""
    unit, settings = _read_settings_of(root, group)
    if not unit:
        return ""
    is_free = _says_delegated(settings)
    default = _CONTINUE if is_free else settings["DefaultOOMPolicy"] or "stop"
    policy = settings["OOMPolicy"] or default
    return "" if policy == _CONTINUE else f"systemd OOMPolicy={policy} of {unit}"


def _says_delegated(settings: dict[str, str]) -> bool:
    return settings["Delegate"].lower() not in ("", "no", "false", "off", "0")


def _read_settings_of(root: str, group: ControlGroup) -> tuple[str, dict[str, str]]:
    """Name the systemd unit that a group is in or below, `""` for none, and what it is set to."""
    unit, is_users = _find_unit(group.name)
    settings = {"OOMPolicy": "", "Delegate": "", "DefaultOOMPolicy": ""}
    if not unit or not os.path.isdir(join(root, "/run/systemd/system")):
        return "", settings
    for path in _files(root, unit, is_users=is_users):
        _read_settings(path, settings)
    return unit, settings


def _find_unit(name: str) -> tuple[str, bool]:
    """Return the innermost unit on a group's path, and whether a user's systemd owns it."""
    units = [part for part in name.split("/") if part.endswith(_UNITS)]
    if not units:
        return "", False
    is_users = len(units) > 1 and units[0].startswith("user@")
    return units[-1], is_users


def _files(root: str, unit: str, *, is_users: bool) -> Iterator[str]:
    """Yield the files that may set something of a unit, weakest first."""
    kind = "user" if is_users else "system"
    stem, at, rest = unit.partition("@")
    names = [f"{stem}@{rest[rest.rfind('.') :]}", unit] if at else [unit]
    folders = [join(root, f"{top}/{kind}") for top in _LASTING]
    transient = [join(root, path) for path in _TRANSIENT]
    if is_users:
        run = f"/run/user/{os.getuid() if hasattr(os, 'getuid') else 0}/systemd"
        folders.append(join(root, f"{run}/user"))
        transient = [join(root, f"{run}/transient"), join(root, f"{run}/user.control")]
        home = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
        folders.append(join(root, f"{home}/systemd/user"))
    for top in _LASTING:
        yield join(root, f"{top}/{kind}.conf")
        yield from _parts(join(root, f"{top}/{kind}.conf.d"))
    folders += transient
    for name in names:
        yield from (f"{folder}/{name}" for folder in folders)
    kinds = [unit[unit.rfind(".") + 1 :], *names]
    for name in kinds:
        for folder in folders:
            yield from _parts(f"{folder}/{name}.d")


def _parts(folder: str) -> Iterator[str]:
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return
    yield from (f"{folder}/{name}" for name in names if name.endswith(".conf"))


def _read_settings(path: str, settings: dict[str, str]) -> None:
    for line in os.fsdecode(read_file(path) or b"").split("\n"):
        name, _, value = line.partition("=")
        if name.strip() in settings:
            settings[name.strip()] = value.strip()
