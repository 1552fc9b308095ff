"""`python -m adaptive_exec`, and `python -P adaptive_exec/__main__.py` from a bare clone.

The second form needs `python -P`, which keeps this folder itself off the path; the clone's root is
put there instead.
"""

import sys
from pathlib import Path

if __name__ == "__main__":
    if not __package__:
        sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    from adaptive_exec.cli import main

    sys.exit(main())
