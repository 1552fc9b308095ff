"""Scripts that run as programs of their own; never imported by the tests."""
