"""In the guest: a batch that a limit of 512 MB is too small for; says what came of all.

The argument names it: `poison` (one task needs more than there is), `child` (what it starts does),
`overload` (a few fit together), `leak` (workers keep what their tasks took), `eight` (as many
instances at once, in 1 GB), `hidden` (an overload under a limit that cannot be seen).
"""

import subprocess
import sys
import time

from adaptive_exec import adaptive_executor, take_snapshot

MB = 1 << 20
ODD = 17
kept = []


def poison(number):
    return fill(800 if number == ODD else 20, number)


def child(number):
    if number == ODD:
        subprocess.run([sys.executable, "-S", "-c", f"b'x' * {800 * MB}"], check=False)
    return fill(20, number)


def overload(number):
    return fill(150, number)


def leak(number):
    kept.append(b"x" * (8 * MB))
    return number


def one_of_eight(number):
    return fill(40, number)


def fill(megabytes, number):
    block = b"x" * (megabytes * MB)
    time.sleep(0.05)
    return number + len(block) - megabytes * MB


FOUR = {"max_workers": 4}
LOADS = {
    "poison": (poison, 60, FOUR),
    "child": (child, 60, FOUR),
    "overload": (overload, 24, FOUR),
    "leak": (leak, 60, FOUR),
    "one": (one_of_eight, 8, FOUR),
    "hidden": (overload, 12, {"max_workers": 6, "isolate": True}),
}


def run(name):
    function, tasks, settings = LOADS[name]
    values, errors = 0, []
    with adaptive_executor(range(tasks), **settings) as executor:
        for one in executor.outcomes(function, range(tasks)):
            values += one.value == one.index
            if one.error is not None:
                errors.append((one.index, type(one.error).__name__))
        codes = {str(one.reason.code) for one in executor.report.decisions}
    return f"END {values} {errors}", codes


def run_eight():
    words = [sys.executable, __file__, "one"]
    some = [subprocess.Popen(words, stdout=subprocess.PIPE, text=True) for _ in range(8)]
    said = [one.communicate()[0].strip() for one in some]
    return f"END {said.count('END 8 []')} of 8"


if __name__ == "__main__":
    name = sys.argv[1]
    if name == "eight":
        sys.stdout.write(run_eight() + "\n")
        sys.exit()
    seen = take_snapshot().limit_bytes
    said, codes = run(name)
    shown = sorted(codes & {"group_each", "kill_spreads", "limit_hidden"})
    sys.stdout.write(said + "\n")
    if name != "one":
        sys.stdout.write(
            f"seen {seen // MB} MB, then {take_snapshot().limit_bytes // MB} {shown}\n"
        )
