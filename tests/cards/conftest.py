"""What cards load is found beside them; that must not be found by other tests."""

import sys

import pytest


@pytest.fixture(autouse=True)
def places_of_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
