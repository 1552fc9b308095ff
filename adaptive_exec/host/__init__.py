"""WATCHES: reads the operating system and decides nothing.

The doors are `snapshot.take_snapshot` and `snapshot.HostProbe` (the whole host, once),
`sampler.Sampler` (again and again, from a thread) and `process_memory` (one process). This file
imports none of them, so that reading one process does not load the rest.
"""
