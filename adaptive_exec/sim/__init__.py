"""PRETENDS. The same Run on a host that does not exist: 256 cores, an hour, in a second.

A simulation has no clock but its own, no randomness without a seed, and no process or thread.
"""
