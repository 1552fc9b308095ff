"""WATCHES: reads the operating system and decides nothing.

The doors are `snapshot.take_snapshot` and `snapshot.HostProbe` (the whole host) and
`process_groups` (what was started). This file imports none of them, so that one does not load the
rest.

Records are named tuples, here as in the core: a frozen dataclass takes 0.75 ms to define, a named
tuple 0.09 ms, and ten dataclasses were two thirds of the folder's import.
"""
