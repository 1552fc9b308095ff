"""Tells people of decisions: a line in the log, and the user's callback. Decides nothing."""

import contextlib
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from adaptive_exec.core.instructions import Explain
from adaptive_exec.core.reason import Decision
from adaptive_exec.engine import lanes as lane
from adaptive_exec.engine.lanes import Lanes
from adaptive_exec.log import LOGGER, DecisionLog, as_event

OBSERVED_STEPS_MAX: Final = 10_000
"""Decisions that may wait to be logged and handed to `on_event`; of more it is said how many were
passed over. A run makes a few a second, so that is an hour of a callback that hangs."""


class Telling:
    """What is told of one executor.

    Args:
        name: The executor's, for its lines.
        on_event: The user's callback, None for none.
        lanes: Where it is told.
        is_here: True to tell in the thread that drives, which is the caller's own.
    """

    def __init__(
        self,
        name: str,
        on_event: Callable[[dict[str, Any]], object] | None,
        lanes: Lanes,
        *,
        is_here: bool,
    ) -> None:
        self._name = name
        self._on_event = on_event
        self._lanes = lanes
        self._is_here = is_here
        self._log = DecisionLog(name)
        self._unsaid = 0

    def explain(self, order: Explain) -> None:
        """Tell of a decision, apart where that can hold nothing up."""
        if self._on_event is None and not self._log.is_wanted(order.decision):
            return
        if self._lanes.waiting(lane.OBSERVE) >= OBSERVED_STEPS_MAX:
            self._unsaid += 1
            return
        say = partial(self._say, order.decision)
        if self._is_here:
            say()
        else:
            self._lanes.put(lane.OBSERVE, say)

    def _say(self, decision: Decision) -> None:
        """Write a decision into the log and tell `on_event` of it."""
        unsaid, self._unsaid = self._unsaid, 0
        if unsaid:
            LOGGER.warning("log: decisions were passed over count=%d run=%s", unsaid, self._name)
        with contextlib.suppress(Exception):  # a handler of the user's, a stream that was closed
            self._log.write(decision)
        if self._on_event is None:
            return
        try:
            self._on_event(as_event(decision))
        except Exception:  # noqa: BLE001  # the user's callback may raise anything; the run goes on
            LOGGER.exception(
                "on_event: the callback failed and is asked no more run=%s", self._name
            )
            self._on_event = None
