"""The caller's program in its workers: what it takes for a task to give what a loop would."""
