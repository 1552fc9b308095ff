"""A module whose generators were made at its import, in each place where people keep them."""

import random
from functools import partial

import numpy as np

PLAIN = random.Random()
LEGACY = np.random.RandomState()
NEW = np.random.default_rng()
BITS = np.random.PCG64()
SEEDED = np.random.default_rng(42)
SEEDED_PLAIN = random.Random(42)
LISTED = [np.random.default_rng()]


class Sampler:
    rng = np.random.default_rng()

    def __init__(self):
        self.own = random.Random()


class Ours(random.Random):
    """A subclass, as libraries have them."""


SAMPLER, OURS = Sampler(), Ours()


def _closed():
    rng = np.random.default_rng()

    def draw(_item):
        return rng.random()

    return draw


closure = _closed()


def plain(_item):
    return PLAIN.random()


def legacy(_item):
    return LEGACY.random_sample()


def gauss(_item):
    return LEGACY.standard_normal()


def new(_item):
    return NEW.random()


def bits(_item):
    return BITS.random_raw()


def seeded(_item):
    return SEEDED.random()


def seeded_plain(_item):
    return SEEDED_PLAIN.random()


def listed(_item):
    return LISTED[0].random()


def of_class(_item):
    return Sampler.rng.random()


def of_object(_item):
    return SAMPLER.own.random()


def of_subclass(_item):
    return OURS.random()


def of_default(_item, rng=np.random.default_rng()):  # noqa: B008  # as users do
    return rng.random()


def of_closure(item):
    return closure(item)


def spawned(_item):
    return NEW.bit_generator.seed_seq.spawn(1)[0].generate_state(2).tolist()


def global_plain(_item):
    return random.random()


def global_numpy(_item):
    return np.random.random()  # noqa: NPY002  # the old ways are what is tested


def argument(rng):
    return rng.random()


PLACES = [
    plain, legacy, gauss, new, bits, seeded, seeded_plain, listed, of_class, of_object,
    of_subclass, of_default, of_closure, spawned, global_plain, global_numpy,
]  # fmt: skip


def draw_all(_item):
    return [repr(place(None)) for place in PLACES]


bound = partial(argument, np.random.default_rng())
