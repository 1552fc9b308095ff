"""What passes with the standard pools passes with ours in their place: other people's tests."""

import pytest

from tests.others.suites import SUITE_SECONDS, SUITES, TRIES, MissingError, run


@pytest.mark.others
@pytest.mark.timeout(SUITE_SECONDS * (TRIES + 1))
@pytest.mark.parametrize("name", SUITES)
def test_what_passes_with_the_standard_pools_passes_with_ours(name):
    try:
        theirs = run(name, ours=False)
    except MissingError as missing:
        pytest.skip(f"needs the package of {name}, got {missing}")
    ours = run(name, ours=True)
    lost = theirs.passed - ours.passed
    assert not {test: ours.others.get(test, "did not run") for test in lost}
    assert len(theirs.passed) >= SUITES[name].least
