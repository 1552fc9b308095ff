"""THINKS. Pure policy: events go in, instructions come out, each instruction has a reason.

The law of this folder: no clock, file, thread, process, lock, logging or randomness; no function,
argument, result or path of the user's. Time is a field of the event. A floors test holds the
imports to this.
"""
