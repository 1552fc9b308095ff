#!/usr/bin/env bash
# Sets up the tests on a machine that has nothing but Python 3.11 or newer, and runs them.
#
#   bash run_tests.sh              the quick ring: ten minutes on two cores, once set up
#   bash run_tests.sh --all        then the rings with real faults and slow tests too
#   bash run_tests.sh --rings EXPR only the rings that EXPR names, e.g. "faults or slow"
#   bash run_tests.sh ARGUMENTS    any arguments of pytest, e.g. tests/core -k config
#
# PYTHON=python3.12 chooses the interpreter, TEST_VENV=folder where the environment goes (.venv-test).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

venv=${TEST_VENV:-.venv-test}
needs='import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))'

find_python() {
    local name
    for name in ${PYTHON:-python3 python3.13 python3.12 python3.11 python}; do
        if "$name" -c "$needs" 2>/dev/null; then
            echo "$name"
            return
        fi
    done
    echo "run_tests.sh: no Python 3.11 or newer with venv and pip, tried ${PYTHON:-python3, python3.11 to 3.13};" \
        "install one (on Debian also python3-venv) or name it with PYTHON=" >&2
    return 1
}

# The stamp holds what was installed, so a changed pyproject.toml installs again.
set_up() {
    local python stamp want
    stamp=$venv/installed
    want="$(cksum < pyproject.toml) $PWD"
    if [[ -x $venv/bin/python && -f $stamp && $(< "$stamp") == "$want" ]]; then
        return
    fi
    python=$(find_python)
    echo "run_tests.sh: setting up $venv with $("$python" --version), once"
    "$python" -m venv --clear "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --editable '.[test]'
    echo "$want" > "$stamp"
}

# A ring without tests (pytest's exit code 5) passes here and says so; any other code ends the script.
run_ring() {
    local code=0
    "$venv/bin/python" -m pytest -m "$1" || code=$?
    if ((code == 5)); then
        echo "run_tests.sh: no tests in the ring '$1' yet"
        return 0
    fi
    return "$code"
}

set_up
case ${1:-} in
    --all)
        "$venv/bin/python" -m pytest "${@:2}"
        run_ring "faults or slow"
        ;;
    --rings) run_ring "${2:?names no ring; give one, e.g. \"faults or slow\"}" ;;
    *) exec "$venv/bin/python" -m pytest "$@" ;;
esac
