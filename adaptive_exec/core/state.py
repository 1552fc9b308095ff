"""What a run knows, in one place. `Run` owns it; only the functions of this folder change it.

Decides nothing. What is written to `orders` while an event is handled is what the driver will
do, in that order.
"""

from collections import deque
from typing import Final

from adaptive_exec.config import Config
from adaptive_exec.core.batch import Batch
from adaptive_exec.core.bounds import FOREVER
from adaptive_exec.core.costs import Costs
from adaptive_exec.core.instructions import Explain, Instruction
from adaptive_exec.core.memory.governor import CALM, Crawl, Verdict, Victim
from adaptive_exec.core.memory.sizes import Sizing
from adaptive_exec.core.memory.window import IDLE_SLOWER, OPEN, UNKNOWN_TASK_BYTES
from adaptive_exec.core.plan import SMALL_BATCH_TASKS
from adaptive_exec.core.reason import Decision, Fact, Reason
from adaptive_exec.core.roster import Flight, Roster
from adaptive_exec.core.sharing.share import NO_CLAIM, SHARE_WAIT_SECONDS, Share
from adaptive_exec.core.snapshot import HostSnapshot
from adaptive_exec.specs import BESIDE, ISOLATED, LEVELS

ELAPSED_KEPT: Final = 128
"""Chunks of the level beside of which it is kept how long they were out."""


class MemoryState:
    """What is known of memory; `core/memory` alone changes it.

    Attributes:
        verdict: How tight it was at the last reading.
        next_look: When the host is to be read; never while a reading is under way.
        window: Most chunks that memory lets out.
        live: By how much the workers of running chunks had grown at the last reading, by chunk.
        base_bytes: What all but the tasks of this run takes of memory.
        last_base_bytes: The same as the last reading alone has it.
        seen_bytes: What many running chunks had grown to at the last reading.
        excess_bytes: By how much they had outgrown what is reserved for them.
        told_window: The width of the window that people were told last, 0 for none.
        chunk_bytes: What a chunk in a process is reckoned to take, 0 where nothing is.
        is_guessing: True while that is a guess, since none was measured.
        familiar: The kind of a batch that was measured, here before or by a neighbour, and what its
            chunks took (95th percentile).
        fair_bytes: A worker's fair part of the room for tasks.
        calm_looks: Readings in a row at which nothing had changed.
        newest_seen: The newest chunk at the last reading.
        crawl: Since when tasks are held up without room, and how often they were by then; None
            while they are not.
        is_alarmed: True between the first critical reading and the second look.
        victim: The worker that was killed for memory which is not back yet.
        room_until: Until when nothing is sent at critical pressure.
        room_after: When it may be waited for again, since the last wait was in vain.
        revealed_at: When a kill has shown a limit that cannot be seen.
        trim_after: When garbage may be collected again for want of memory.
        has_measures: True once any measure has come.
        sizings: What was learned of the sizes of functions' tasks, by their numbers.
        unwalled: Kinds of batches whose functions reserve memory that they do not use.
        has_groups: Whether each worker has a control group of its own.
        is_wide_kill_told: Whether it was said that a kernel's kill would end the caller as well.
    """

    def __init__(self, host: HostSnapshot) -> None:
        self.verdict: Verdict = CALM
        self.next_look = 0.0
        self.window = OPEN
        self.live: dict[int, int] = {}
        self.base_bytes = self.last_base_bytes = host.used_bytes
        self.seen_bytes = 0
        self.excess_bytes = 0.0
        self.told_window = 0
        self.chunk_bytes = UNKNOWN_TASK_BYTES
        self.is_guessing = False
        self.familiar: tuple[int, int] | None = None
        self.fair_bytes = float(host.limit_bytes)
        self.calm_looks = self.newest_seen = 0
        self.is_alarmed = False
        self.crawl: Crawl | None = None
        self.victim: Victim | None = None
        self.room_until = self.room_after = 0.0
        self.revealed_at = -FOREVER
        self.trim_after = 0.0
        self.has_measures = False
        self.sizings: dict[int, Sizing] = {}
        self.unwalled: tuple[int, ...] = ()
        self.has_groups = self.is_wide_kill_told = False

    def await_reading(self) -> bool:
        """Note that the host is to be read now; say whether it is not being read already."""
        is_new, self.next_look = self.next_look != FOREVER, FOREVER
        return is_new

    def hear(self, kind: int, chunk_bytes: int) -> None:
        """Take in what a neighbour has measured, while that is guessed here."""
        if self.is_guessing:
            self.familiar = kind, chunk_bytes


class SharingState:
    """What is known of the others on the host; `core/sharing` alone changes it.

    Attributes:
        is_sharing: Whether the host is shared with other instances through a ledger.
        is_alone: Whether the last trade found no usable ledger; tried again after a while.
        share: What the last trade with the ledger brought, None before the first.
        is_trading: True from a trade's order to its answer.
        is_resting: Whether the others were told last that there is nothing to do here.
        idle_since: Since when nothing runs and nothing is here to be run, None while something is.
        last_trade: When the last trade was ordered.
        due_since: Since when the next one waits for a reading of the host, None while none does.
        offered: What was claimed then.
        waiting_since: Since when a share of memory is awaited, None while none is.
        is_wait_told: Whether people were told of the wait.
        is_past_line: Whether the wait has lasted too long, so that the run goes on all the same.
        next_trade: When the next one is due; never while one is under way or the run rests.
        is_timing: True from the order to read processor times to its answer.
        next_timing: When they are to be read next.
    """

    def __init__(self, *, is_sharing: bool) -> None:
        self.is_sharing = is_sharing
        self.is_alone = False
        self.share: Share | None = None
        self.is_trading = False
        self.is_resting = True
        self.idle_since: float | None = None
        self.last_trade = -FOREVER
        self.due_since: float | None = None
        self.offered = NO_CLAIM
        self.waiting_since: float | None = None
        self.is_past_line = False
        self.is_wait_told = False
        self.next_trade = FOREVER
        self.is_timing = False
        self.next_timing = FOREVER


class LevelsState:
    """The workers of each level, and which levels are to be had; `core/moves` alone changes that.

    Attributes:
        rosters: The workers of each level.
        isolated: Those of the level at which suspects run and whose workers are weighed.
        ranks: Those of the levels that the settings allow, best first.
        ailing: Levels that are shut or on trial.
        broken: Why no task can run at all any more, None while they can.
    """

    def __init__(self, config: Config) -> None:
        self.rosters = {level: Roster(level) for level in LEVELS}
        if config.cluster is not None:
            self.rosters[BESIDE] = Roster(BESIDE)
        self.isolated = self.rosters[ISOLATED]
        self.ranks = tuple(self.rosters[level] for level in config.ladder)
        self.ailing: set[str] = set()
        self.broken: Reason | None = None


class BesideState:
    """What is known of the level beside the ladder; `core/beside` alone changes it.

    Attributes:
        roster: Its places, each a worker that takes one chunk.
        goes_by_processes: Whether it is known which functions can be sent to processes, which are
            those that can go there; else each is tried.
        places: Chunks that may be there at once.
        trip_seconds: What the way there and back takes.
        elapsed_seconds: How long the last chunks were out that came back, or were taken back.
        due_at: When each chunk that is out is past its time.
        unbound: Chunks of which that is not known yet.
        soonest_at: No chunk is past its time before.
        late: Chunks in a row that were.
        refused: Batches whose functions cannot go there.
        told: Batches of which it was said that their tasks' time is not held there.
        chunk_tasks: Length of the last chunk that was cut.
    """

    def __init__(self, roster: Roster, *, goes_by_processes: bool) -> None:
        self.roster = roster
        self.goes_by_processes = goes_by_processes
        self.places = 0
        self.trip_seconds = 0.0
        self.elapsed_seconds: deque[float] = deque(maxlen=ELAPSED_KEPT)
        self.due_at: dict[int, float] = {}
        self.unbound: set[int] = set()
        self.soonest_at = FOREVER
        self.late = 0
        self.refused: set[int] = set()
        self.told: set[int] = set()
        self.chunk_tasks = 1

    def may_help(self, batch: Batch) -> bool:
        """Say whether tasks of a batch may go there; those of a small one are for threads here."""
        if batch.dropped or batch.id in self.refused:
            return False
        if self.goes_by_processes and not batch.portable:
            return False
        return batch.single or batch.tasks is None or batch.tasks >= SMALL_BATCH_TASKS

    def workers_beside(self, batch: Batch, chunk: int) -> int:
        """Say how many workers with chunks of such a length its places amount to."""
        if not (self.places and self.may_help(batch)):
            return 0
        return -(-self.places * self.chunk_tasks // max(1, chunk))


class State:
    """What a run knows.

    Attributes:
        now: Time of the event that is being handled.
        orders: What that event has led to so far.
        batches: Those not finished, in the order in which they may send next.
        flights: Chunks that were sent and are not over.
        out: How many of them are with workers; a chunk that lies ready for its caller's own
            thread is not, since nothing may wait for a caller who perhaps waits for us.
        suspects: Suspects that wait for their turn, over all batches.
        solo: The chunk that runs with all other work paused, None while there is none.
        oom_kills: The kernel's kills for memory that need no worker's death any more.
        is_recording_full: True while the journal's disk is far behind with what is finished.
        is_setting_full: The same for submitted calls and the code that unpacks their results.
        starved_at: Since when not even one worker fits, None while it does.
        known_costs: What tasks of the last batches took, by the number of their function.
        memory: What is known of memory.
        sharing: What is known of the others on the host.
        levels: Which levels are to be had, and their workers.
        beside: What is known of the level beside them, None where there is none.
    """

    def __init__(self, config: Config, host: HostSnapshot) -> None:
        self.config = config
        self.host = host = host.with_swap() if config.count_swap else host
        self.now = 0.0
        self.orders: list[Instruction] = []
        self.batches: dict[int, Batch] = {}
        self.flights: dict[int, Flight] = {}
        self.out = 0
        self.suspects = 0
        self.solo: int | None = None
        self.is_stopping = False
        self.oom_kills = host.oom_kills or 0
        self.timer_at: float | None = None
        self.is_recording_full = self.is_setting_full = False
        self.starved_at: float | None = None
        self.last_chunk_id = self.last_worker_id = 0
        self.known_costs: dict[int, Costs] = {}
        self.memory = MemoryState(self.host)
        self.sharing = SharingState(is_sharing=config.share_host)
        self.levels = LevelsState(config)
        roster = self.levels.rosters.get(BESIDE)
        self.beside = (
            None
            if roster is None
            else BesideState(roster, goes_by_processes=ISOLATED in config.ladder)
        )

    def new_chunk_id(self) -> int:
        """Give an id that no chunk of this run had before."""
        self.last_chunk_id += 1
        return self.last_chunk_id

    def new_worker_id(self) -> int:
        """Give an id that no worker of this run had before."""
        self.last_worker_id += 1
        return self.last_worker_id

    @property
    def is_watching(self) -> bool:
        """True while the host is to be read now and then: something is out, or waits for room."""
        return bool(self.flights) or self.starved_at is not None or self.is_short_of_room

    @property
    def is_short_of_room(self) -> bool:
        """True while nothing is sent for want of memory; bounded by ROOM_SECONDS."""
        return self.now < self.memory.room_until and self.memory.verdict.pressure == "critical"

    @property
    def is_in_line(self) -> bool:
        """True while nothing is sent for want of a share; bounded by SHARE_WAIT_SECONDS."""
        since = self.sharing.waiting_since
        return since is not None and self.now < since + SHARE_WAIT_SECONDS

    @property
    def live_seconds(self) -> float:
        """How long the oldest running chunk that was weighed has run, 0 while none was."""
        flights = (self.flights.get(chunk) for chunk in self.memory.live)
        return max((self._seconds_of(one) for one in flights if one is not None), default=0.0)

    def _seconds_of(self, flight: Flight) -> float:
        """Say for how long a chunk has run; in this process by its processor time, on a busy host.

        One that got no processor has not shown its nature. It may wait for something else, though.
        """
        seconds, used = self.now - flight.since, self.host.cpu_seconds
        if flight.cpu_since is None or used is None:
            return seconds
        return max(seconds / IDLE_SLOWER, min(seconds, used - flight.cpu_since))

    @property
    def shut_levels(self) -> frozenset[str]:
        """Levels that failed and are not to be tried now."""
        return frozenset(
            level for level in self.levels.ailing if self.levels.rosters[level].is_shut
        )

    @property
    def is_changing_level(self) -> bool:
        """True while a level goes down; no worker is started anywhere until it is gone."""
        return any(roster.is_leaving for roster in self.levels.ranks)

    def explain(
        self,
        event: str,
        severity: str,
        subject: str,
        reason: Reason,
        *,
        old: str = "",
        new: str = "",
        **more: Fact,
    ) -> None:
        """Tell people of a decision; `more` is added to the facts of its reason."""
        if more:
            reason = Reason(reason.code, reason.facts + tuple(more.items()))
        self.orders.append(Explain(Decision(self.now, event, severity, subject, reason, old, new)))
