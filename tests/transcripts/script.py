"""Transcripts: commands to a modelled world, and all that its Run orders in answer, as text.

A block is commands, `----`, and the answers up to a blank line. The first line of a command is its
name, words, `name=value` pairs; a line that starts with `#` is a remark.
"""

import re

from adaptive_exec.config import Config, parse_size
from adaptive_exec.core import events as ev
from adaptive_exec.core import instructions as ins
from adaptive_exec.core.report import describe
from adaptive_exec.core.sharing.share import Claim
from tests.core.world import GIB, World, make_host

DEATH_FLAGS = {"memory", "blameless", "foul", "unexplained"}


def replay(text: str) -> str:
    """Run the commands of a transcript and put the answers of today in place of the old ones."""
    player, out = Player(), []
    for block in text.strip().split("\n\n"):
        commands = block.split("\n----")[0]
        answers = [answer for line in commands.split("\n") for answer in player.play(line)]
        if all(line.startswith("#") for line in commands.split("\n")):
            out.append(commands)
        else:
            out.append("\n".join([commands, "----", *answers]))
    return "\n\n".join(out) + "\n"


class Player:
    def __init__(self) -> None:
        self.host = make_host(cores=2)
        self.settings = {}
        self.world: World | None = None

    def play(self, line: str) -> list[str]:
        if line.startswith("#"):
            return []
        name, *words = line.split()
        pairs = dict(word.split("=", 1) for word in words if "=" in word)
        values = {key: read(value) for key, value in pairs.items()}
        words = [word for word in words if "=" not in word]
        if name == "host":
            self.host = make_host(**values)
            return []
        if name == "config":
            self.settings = values | ({"initializer": print} if "initializer" in values else {})
            return []
        if self.world is None:
            settings = {"share_host": False} | self.settings
            self.world = World(Config(**settings), self.host)
        before = len(self.world.history)
        getattr(self, f"do_{name}")(words, values)
        return [
            write(order, self.world.at if event is None else event.at)
            for event, orders in self.world.history[before:]
            for order in orders
        ]

    def do_open(self, words, values):
        flags = {"single": "single" in words, "portable": "unportable" not in words}
        flags["recorded"] = "recorded" in words
        self.world.open(**values, **flags)

    def do_arrive(self, words, values):
        self.world.arrive(int(words[0]), int(words[1]))

    def do_aside(self, words, values):
        self.world.set_aside(int(words[0]), int(words[1]))

    def do_recall(self, words, values):
        self.world.recall(*map(int, words))

    def do_free(self, words, values):
        self.world.free(*map(int, words))

    def do_journal(self, words, values):
        error = "database or disk is full"
        events = {
            "opened": ev.JournalOpened(self.world.at, 41, "nfs4", has_log=False),
            "failed": ev.JournalFailed(self.world.at, error),
        }
        self.world.is_unrecorded |= words[0] == "failed"
        self.world.say(events[words[0]])

    def do_end(self, words, values):
        self.world.exhaust(int(words[0]))

    def do_ready(self, words, values):
        for worker in words:
            self.world.ready(int(worker))

    def do_refuse(self, words, values):
        for worker in words:
            if worker.isdigit():
                self.world.refuse(int(worker), lasting="lasting" in words)

    def do_progress(self, words, values):
        self.world.progress(int(words[0]), int(words[1]))

    def do_done(self, words, values):
        for chunk in words:
            self.world.done(int(chunk), **values)

    def do_lose(self, words, values):
        flags = dict.fromkeys(DEATH_FLAGS.intersection(words), True)
        known = "unknown" not in words
        cause = values.get("cause", "signal 9").replace("_", " ")
        worker = int(words[0])
        self.world.lose(worker, offset=values.get("offset"), known=known, cause=cause, **flags)

    def do_overdue(self, words, values):
        chunk, index = map(int, words)
        self.world.say(ev.TaskOverdue(self.world.at, chunk, index, 2.5))

    def do_stalled(self, words, values):
        worker = int(words[0])
        self.world.say(ev.WorkerStalled(self.world.at, "process", worker, "stopped by a signal"))

    def do_unloadable(self, words, values):
        chunk = int(words[0])
        del self.world.chunks[chunk]
        error = "ModuleNotFoundError: No module named 'mine'"
        self.world.say(ev.FunctionRefused(self.world.at, chunk, error))

    def do_closed(self, words, values):
        self.world.close_level(words[0])

    def do_neighbours(self, words, values):
        """Let so many others be here from the next trade on, each with so many slots."""
        self.world.neighbours = [
            Claim(f"other {number}", -1.0, wanted_slots=values["slots"], held_slots=values["slots"])
            for number in range(int(words[0]))
        ]

    def do_sample(self, words, values):
        self.world.sample(values.get("available", 32 * GIB))

    def do_wait(self, words, values):
        self.world.wait(float(words[0]))

    def do_take(self, words, values):
        self.world.take(int(words[0]), int(words[1]))

    def do_drop(self, words, values):
        self.world.drop(int(words[0]))

    def do_stop(self, words, values):
        self.world.stop(cancel="cancel" in words)


def read(text: str):
    if re.fullmatch(r"\d+", text):
        return int(text)
    if re.fullmatch(r"[\d.]+(e-\d+)?", text):
        return float(text)
    if re.fullmatch(r"\d+[GM]iB", text):
        return parse_size("transcript", text, limit_bytes=0)
    if text in {"True", "False"}:
        return text == "True"
    return tuple(text.split(",")) if "," in text else text


def write(order: ins.Instruction, at: float) -> str:
    """Write an instruction as a line for people."""
    match order:
        case ins.Explain():
            return f"Explain {order.decision.severity} {describe(order.decision)}"
        case ins.OpenLevel() | ins.StartWorkers():
            return f"{type(order).__name__} {order.level} workers={write_ids(order.workers)}"
        case ins.CloseLevel():
            return f"CloseLevel {order.level}"
        case ins.RetireWorker():
            return f"RetireWorker {order.level} worker={order.worker}"
        case ins.KillWorker():
            return f"KillWorker {order.level} worker={order.worker} reason={order.reason.code}"
        case ins.Pull():
            return f"Pull batch={order.batch} tasks={order.count}"
        case ins.SendChunk():
            where = f"{order.level} worker={order.worker}"
            what = f"batch={order.batch} tasks={write_range(order.start, order.stop)}"
            return f"SendChunk {order.chunk} {where} {what} attempt={order.attempt}"
        case ins.Record():
            return f"Record batch={order.batch} tasks={write_range(order.start, order.stop)}"
        case ins.Recall():
            return f"Recall batch={order.batch} tasks={write_range(order.start, order.stop)}"
        case ins.Deliver():
            return f"Deliver batch={order.batch} tasks={write_range(order.start, order.stop)}"
        case ins.FailTasks():
            what = f"batch={order.batch} tasks={write_range(order.start, order.stop)}"
            return f"FailTasks {what} reason={order.reason.code}"
        case ins.FinishBatch():
            return f"FinishBatch batch={order.batch}"
        case ins.ReadHost():
            return "ReadHost"
        case ins.BelieveLimit():
            return f"BelieveLimit bytes={order.bytes}"
        case ins.TimeWorkers():
            return "TimeWorkers"
        case ins.TradeShare():
            wanted, held = order.claim.wanted_slots, order.claim.held_slots
            return f"TradeShare wanted={wanted} held={held} cores={order.cores}"
        case ins.TrimMemory():
            return "TrimMemory"
        case ins.SetTimer():
            return f"SetTimer {'never' if order.at is None else f'+{order.at - at:g}s'}"
        case ins.Finish():
            return "Finish"


def write_ids(numbers: tuple[int, ...]) -> str:
    return write_range(numbers[0], numbers[-1] + 1)


def write_range(start: int, stop: int) -> str:
    return f"{start}..{stop - 1}" if stop - start > 1 else f"{start}"
