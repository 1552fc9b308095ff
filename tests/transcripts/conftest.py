"""`pytest tests/transcripts --rewrite` writes the transcripts anew; the diff is the review."""


def pytest_addoption(parser):
    parser.addoption("--rewrite", action="store_true", help="write what a Run orders now")
