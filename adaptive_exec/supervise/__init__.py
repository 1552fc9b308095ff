"""Runs copies of a user's own command and restarts them before they hurt the host.

`supervisor` does what `core/supervision` decides; `sentinel` ends the copies if the supervisor
itself is killed; `pid_file` says who runs, to people and to the next supervisor; `lines` writes
the log.
"""
