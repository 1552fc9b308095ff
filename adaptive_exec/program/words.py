"""What a task can say: kinds of utterances between a worker and its parent."""

OUT, ERR, OUT_BYTES, ERR_BYTES = 1, 2, 3, 4
"""Text or bytes for standard output or error."""
FLUSH_OUT, FLUSH_ERR = 5, 6
"""A stream was flushed."""
RECORD, WARNING = 7, 8
"""A log record and a warning: pickles of plain facts, and of what may not be had in the parent."""
