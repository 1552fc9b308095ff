"""`python -m adaptive_exec`, and `python -P adaptive_exec/__main__.py` from a bare clone.

The second form needs `python -P`, which keeps this folder itself off the path; the clone's root is
put there instead.
"""

import sys

if __name__ == "__main__":
    try:
        if not __package__:
            from pathlib import Path

            sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
        from adaptive_exec.cli import main
    except KeyboardInterrupt:  # before `main` could say so
        sys.stderr.write("adaptive-exec: stopped before it began\n")
        sys.exit(130)
    sys.exit(main())
