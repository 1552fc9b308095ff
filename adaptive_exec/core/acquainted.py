"""What tasks of a function took in earlier batches, for the first chunks of its next one.

A guess, since other arguments may take longer: what stands behind a long task is taken back, and
the first chunk of the batch itself weighs as much as all before. Pure.
"""

from adaptive_exec.core.batch import Batch
from adaptive_exec.core.state import State

KNOWN_MAX = 64
"""Functions whose costs are kept, the last ones. Source: own choice; 200 bytes each."""


def recall_costs(state: State, batch: Batch, *, is_at_hand: bool) -> None:
    """Begin a batch with what is known of its function.

    Args:
        state: What the run knows.
        batch: One that has just come.
        is_at_hand: True where its input lies in memory, so that more is pulled at no cost.
    """
    costs = state.known_costs.get(batch.kind)
    if costs is None or not is_at_hand or batch.chunk_tasks is not None:
        return
    batch.costs = costs
    batch.chunk = costs.chunk_tasks


def keep_costs(state: State, batch: Batch) -> None:
    """Keep what the tasks of a batch took that is over."""
    if not batch.kind or not batch.costs.tasks:
        return
    state.known_costs.pop(batch.kind, None)
    state.known_costs[batch.kind] = batch.costs
    if len(state.known_costs) > KNOWN_MAX:
        state.known_costs.pop(next(iter(state.known_costs)))
