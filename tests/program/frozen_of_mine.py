"""A module that sets all objects aside for the collector once it is loaded, as before a fork."""

import gc

from tests.program import seeded_of_mine


def draw_all(number):
    return seeded_of_mine.draw_all(number)


gc.freeze()
