"""The book itself: the own lease, held by `flock` while the instance lives, and the others'.

A lease ends with its lock, so with its owner, however that one ends. Reading the others and
entering the own claim happen under one more lock, so that of several who come in the same instant
each sees what the ones before it were promised. No wait is longer than LEDGER_LOCK_SECONDS.
"""

import contextlib
import itertools
import os
import time
from collections.abc import Callable, Iterator
from typing import Final

from adaptive_exec.core.instructions import TradeShare
from adaptive_exec.core.sharing.share import Claim, Pool, believe_claim
from adaptive_exec.core.snapshot import HostSnapshot
from adaptive_exec.ledger.facts import Facts, Traded
from adaptive_exec.ledger.record import LeaseRecord, RecordError, read_record, write_record
from adaptive_exec.system.folder import find_folder, open_folder
from adaptive_exec.system.identity import is_proved_gone, this_process
from adaptive_exec.system.locks import HAS_LOCKS, make_locked, try_lock, unlock, wait_for_lock
from adaptive_exec.system.private import NotOursError, open_file

LEDGER_LOCK_SECONDS: Final = 0.02
"""Seconds to wait for the ledger's lock, held for 0.2 ms by each; then it trades without."""
LEDGER_OPENINGS_MAX: Final = 3
"""Times that a trade opens the ledger anew after a failure, before the instance goes on alone."""
LEDGER_RECORD_BYTES: Final = 4096
"""Bytes of an instance's record at most: a page, which the kernel writes in one piece."""

SUFFIX: Final = ".lease"
_NEW: Final = ".new"
_NEW_SECONDS: Final = 60.0
"""Seconds after which a file that its maker never locked and renamed is left behind by a kill."""
_LOCK: Final = "lock"
SAID_MAX: Final = 64
"""Troubles that are said once each; with more of them they are said again. Source: own choice."""
_TOKEN_BYTES: Final = 4
"""Random bytes in a lease's name: two containers that share the folder count alike."""
_numbers = itertools.count(1)


class Ledger:
    """This instance's side of the book. Used by one driver.

    Args:
        program: Command line of the instance, for people who watch.
        clock: Monotonic seconds.
    """

    def __init__(self, program: str = "", *, clock: Callable[[], float] = time.monotonic) -> None:
        self.name = f"{os.getpid()}-{next(_numbers)}-{os.urandom(_TOKEN_BYTES).hex()}"
        self._program = program
        self._clock = clock
        self._folder = ""
        self._file = self._lock = -1
        self._arrived_at = self._since = 0.0
        self._pool = Pool()
        self._said: set[str] = set()
        self._identity = this_process()

    def trade(self, order: TradeShare, host: HostSnapshot, facts: Facts | None = None) -> Traded:
        """Enter a claim, and say what the others leave.

        Args:
            order: The claim, and what the run knows of the host.
            host: The last snapshot, for the names of what is shared.
            facts: What else to write down.

        Returns:
            The share; it never fails.
        """
        if not HAS_LOCKS:
            return Traded(None, "this system has no flock; the instance goes on alone")
        for _ in range(LEDGER_OPENINGS_MAX):
            try:
                self._open()
                with self._locked() as trouble:
                    return self._trade(order, host, facts or Facts(), trouble)
            except OSError as error:
                self.close()
                failure = f"{type(error).__name__}: {error}"
        return Traded(None, failure)

    def close(self) -> None:
        """End the lease."""
        if self._file >= 0:
            with contextlib.suppress(OSError):
                os.unlink(self._path(self.name))  # noqa: PTH108  # pathlib costs an import of 5 ms
        self.let_go()

    def let_go(self) -> None:
        """Close the descriptors and leave the lease to whoever else holds them."""
        for descriptor in (self._file, self._lock):
            if descriptor >= 0:
                with contextlib.suppress(OSError):
                    os.close(descriptor)
        self._file = self._lock = -1

    def _open(self) -> None:
        if self._file >= 0 and os.fstat(self._file).st_nlink:
            return
        self.let_go()
        self._folder = open_folder()
        self._lock = open_file(f"{self._folder}/{_LOCK}", os.O_RDWR | os.O_CREAT)
        self._file = make_locked(self._path(self.name))
        if self._file < 0:
            self._file = self._make_in_two_steps()
        self._identity = this_process()
        if not self._arrived_at:
            self._arrived_at, self._since = self._clock(), time.time()

    def _make_in_two_steps(self) -> int:
        """Make the lease where no file can be made without a name; readers leave new ones alone."""
        new = self._path(self.name).removesuffix(SUFFIX) + _NEW
        file = open_file(new, os.O_RDWR | os.O_CREAT)
        try:
            if wait_for_lock(file, seconds=LEDGER_LOCK_SECONDS):
                os.rename(new, self._path(self.name))  # noqa: PTH104  # locked before anybody sees it
                return file
        except OSError:
            os.close(file)
            raise
        os.close(file)
        message = f"somebody holds the lock of {new!r}"
        raise OSError(message)

    def _path(self, name: str) -> str:
        return f"{self._folder}/{name}{SUFFIX}"

    @contextlib.contextmanager
    def _locked(self) -> Iterator[str]:
        """Hold the folder's lock, or after a moment go on without it: none may block the others."""
        is_held = wait_for_lock(self._lock, seconds=LEDGER_LOCK_SECONDS)
        try:
            yield "" if is_held else self._once("the ledger's lock is held by someone who is stuck")
        finally:
            if is_held:
                unlock(self._lock)

    def _trade(self, order: TradeShare, host: HostSnapshot, facts: Facts, trouble: str) -> Traded:
        others, odd = [], [trouble] if trouble else []
        for name, record in read_folder(self._folder, leave_out=self.name):
            if isinstance(record, LeaseRecord):
                others.append(_seen_from(host, record))
            elif text := self._once(f"{name}: {record}"):
                odd.append(text)
        own = order.claim._replace(name=self.name, arrived_at=self._arrived_at)
        share, told = self._pool.deal(
            own, others, cores=order.cores, room_bytes=order.room_bytes, now=self._clock()
        )
        self._write(told, order, host, facts)
        return Traded(share, "; ".join(odd))

    def _write(self, claim: Claim, order: TradeShare, host: HostSnapshot, facts: Facts) -> None:
        record = LeaseRecord(
            *self._identity,
            since=self._since,
            updated_at=self._clock(),
            claim=claim,
            standing=order.standing,
            program=self._program,
            core_domain=host.core_domain,
            memory_domain=host.memory_domain,
            memory_domains=host.memory_domains,
            memory_limit_bytes=host.limit_bytes,
            memory_used_bytes=host.used_bytes,
            memory_warn_bytes=facts.warn_bytes,
            memory_critical_bytes=facts.critical_bytes,
            peak_bytes=facts.peak_bytes,
            decisions=facts.decisions,
        )
        content = write_record(record)
        if len(content) > LEDGER_RECORD_BYTES:
            content = write_record(record._replace(program="", decisions=()))
        os.pwrite(self._file, content, 0)
        os.ftruncate(self._file, len(content))

    def _once(self, text: str) -> str:
        if text in self._said:
            return ""
        if len(self._said) >= SAID_MAX:
            self._said.clear()
        self._said.add(text)
        return text


def read_ledger() -> list[LeaseRecord]:
    """Return what all living instances of this user on this host say of themselves, oldest first.

    Returns:
        Their records; empty where there is no usable ledger.
    """
    folder = find_folder()
    if not folder or not HAS_LOCKS:
        return []
    found = [record for _, record in read_folder(folder) if isinstance(record, LeaseRecord)]
    return sorted(found, key=lambda record: (record.claim.arrived_at, record.claim.name))


def read_folder(folder: str, *, leave_out: str = "") -> Iterator[tuple[str, LeaseRecord | str]]:
    """Read every living instance's lease; remove those whose owner has ended.

    Args:
        folder: The ledger.
        leave_out: Name of the instance whose own lease is not wanted.

    Yields:
        File name and record, or what is wrong with it.
    """
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if entry.name.endswith((SUFFIX, _NEW))]
    for name in sorted(names):
        if name.rpartition(".")[0] == leave_out:
            continue
        found = _read_one(f"{folder}/{name}")
        if found is not None:
            yield name, found


def _read_one(path: str) -> LeaseRecord | str | None:
    """Return a living instance's record, what is wrong with it, or None where nobody holds it."""
    try:
        content = _read_living(path)
        if not content or not path.endswith(SUFFIX):
            return None  # nobody's, or one that is being made
        record = read_record(content)
    except (RecordError, NotOursError) as error:
        return str(error)
    except FileNotFoundError:
        return None  # it has ended just now
    except OSError as error:
        return f"cannot be read ({error.strerror}); it is left out"
    return None if _has_ended(record) else record


def _read_living(path: str) -> bytes | None:
    """Return what stands in a lease that is held; remove one that nobody holds."""
    descriptor = open_file(path, os.O_RDONLY)
    try:
        is_made = path.endswith(SUFFIX)
        if not is_made and os.fstat(descriptor).st_mtime > time.time() - _NEW_SECONDS:
            return None  # not even looked at by its lock: its maker is about to take that
        if not try_lock(descriptor, shared=True):
            return os.pread(descriptor, 2 * LEDGER_RECORD_BYTES, 0)
        os.unlink(path)  # noqa: PTH108  # pathlib costs an import of 5 ms
        return None
    finally:
        os.close(descriptor)


def _has_ended(record: LeaseRecord) -> bool:
    """Say whether a lease that is held is held by a child only, which outlived its owner."""
    return is_proved_gone(record.process)


def _seen_from(host: HostSnapshot, record: LeaseRecord) -> Claim:
    """Return an instance's claim as it concerns one who has this host's cores and limits."""
    memory = host.memory_domain
    return believe_claim(record.claim)._replace(
        shares_cores=record.core_domain == host.core_domain,
        shares_memory=memory == record.memory_domain or memory in record.memory_domains,
    )
