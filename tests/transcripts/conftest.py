"""`pytest tests/transcripts --rewrite` writes the transcripts anew; review the diff before a commit."""


def pytest_addoption(parser):
    parser.addoption("--rewrite", action="store_true", help="write what a Run orders now")
