"""Hypothesis profiles: `dev` while writing; `ci`, more examples, always the same, in `.ci/run`."""

import os

from hypothesis import settings

# A deadline per example would fail on a busy host; pytest's timeout bounds the whole test.
settings.register_profile("dev", max_examples=100, deadline=None)
settings.register_profile("ci", max_examples=300, deadline=None, derandomize=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dev"))
