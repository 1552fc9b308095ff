"""WORK. One runner per level behind one contract; `worker` is what runs inside a process."""
