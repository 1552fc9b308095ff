"""Huge pages for what tasks allocate: one page fault for 2 MiB instead of 512.

The C library asks for them if a variable says so when a process begins; the kernel gives them where
it has them and the administrator lets it (`/sys/kernel/mm/transparent_hugepage/enabled`: madvise).
A task that fills 60 MB spends half the time in the kernel then (see docs/design.md). What the
user has set wins, and what a task starts itself does not inherit ours.
"""

import os

TUNABLES = "GLIBC_TUNABLES"
"""Variable that glibc reads at the begin of a process; others ignore it."""
HUGE_PAGES = "glibc.malloc.hugetlb=1"
"""Source: glibc 2.35 and later, manual, "Memory Allocation Tunables": madvise what malloc maps."""


def ask_for_huge_pages() -> dict[str, str]:
    """Return what to add to the environment of a process that is to use them."""
    return {} if TUNABLES in os.environ else {TUNABLES: HUGE_PAGES}
