#!/usr/bin/env bash
# Runs a card on a machine that has nothing but Python 3.11 or newer; a thin wrapper of `adaptive-exec run`.
#
#   bash run_card.sh -o -c -3      one pass over a random sample of three tasks of the default card
#   bash run_card.sh --help        all options
#   bash run_card.sh watch         also card, doctor, journal, supervise, version: the other commands
#
# The first start sets up .venv beside this script, unless a Python that has all it needs is there: $PYTHON, the
# active virtual environment, .venv, python3. PYTHON=python3.12 names the interpreter to try first,
# and to set up with.
set -u

setup_seconds=900 # the longest that one set-up may take
lock_seconds=960  # the longest wait for another start's set-up: longer than one takes

source=${BASH_SOURCE[0]}
while [[ -L $source ]]; do
    link=$(readlink "$source")
    [[ $link == /* ]] || link=$(dirname -- "$source")/$link
    source=$link
done
here=$(cd -- "$(dirname -- "$source")" && pwd -P) || exit 3
venv=$here/.venv
setup=$here/.venv-setup # the lock, the log, and the mark of an unfinished set-up
stamp=$venv/run_card.stamp
step="" # process of the step that runs

fail() {
    printf 'run_card.sh: %s\n' "$1" >&2
    exit 3
}

is_new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }

is_ready() { is_new_enough "$1" && "$1" -P "$here/adaptive_exec/cli/ready.py" >/dev/null 2>&1; }

want_stamp() { printf '%s %s\n' "$(cksum <"$here/pyproject.toml")" "$venv"; }

is_set_up() { [[ -x $venv/bin/python && -f $stamp && $(<"$stamp") == "$(want_stamp)" ]]; }

# Prints the first Python that can run the package as it is.
find_ready() {
    local python
    for python in "${PYTHON:-}" "${VIRTUAL_ENV:+$VIRTUAL_ENV/bin/python}" "$venv/bin/python" python3; do
        [[ -n $python ]] && command -v "$python" >/dev/null || continue
        # Our own environment counts only once its set-up is complete.
        [[ $python == "$venv/bin/python" && -e $setup/building ]] && continue
        if is_ready "$python"; then
            command -v "$python"
            return
        fi
    done
    return 1
}

# An interpreter that was named must be one, whether or not it is needed now.
check_named() {
    [[ -z ${PYTHON:-} ]] && return
    command -v "$PYTHON" >/dev/null || fail "Python was not found, got PYTHON=$PYTHON; name one that is there"
    is_new_enough "$PYTHON" || fail "Python 3.11 or newer is needed, got $("$PYTHON" --version 2>&1) from \
PYTHON=$PYTHON; name a newer one"
}

# Prints the newest Python that can make an environment; a name on PATH may be a shim without an interpreter.
find_base() {
    local python newest=""
    for python in ${PYTHON:-python3.13 python3.12 python3.11 python3 python}; do
        is_new_enough "$python" || continue
        newest=${newest:-$python}
        if "$python" -c 'import venv, ensurepip' >/dev/null 2>&1; then
            command -v "$python"
            return
        fi
    done
    [[ -n $newest ]] && fail "venv or pip is missing from $(command -v "$newest"); install it (on Debian and Ubuntu: \
apt install python3-venv), or name another Python with PYTHON="
    fail "Python 3.11 or newer is needed, got $(python3 --version 2>&1 | tail -n 1); install one, or name it with PYTHON="
}

# Runs one step of the set-up, its output in the log, and stops it if it takes too long.
run_step() {
    local waited=0
    "$@" >>"$setup/log" 2>&1 </dev/null &
    step=$!
    while kill -0 "$step" 2>/dev/null; do
        if ((waited > setup_seconds * 5)); then
            kill -TERM "$step"
            printf 'stopped after %s s\n' "$setup_seconds" >>"$setup/log"
            break
        fi
        sleep 0.2
        waited=$((waited + 1))
    done
    wait "$step"
}

stop() {
    [[ -n $step ]] && kill -TERM "$step" 2>/dev/null
    unlock
    exit "$1"
}

# Locks descriptor 9 for as long as this script or a step of its set-up has it, whatever becomes of them: nothing is
# ever left to be broken. By the interpreter, since flock(1) is not everywhere.
take_lock='
import fcntl, sys, time
end = time.monotonic() + float(sys.argv[1])
while True:
    try:
        fcntl.flock(9, fcntl.LOCK_EX | fcntl.LOCK_NB)
        break
    except BlockingIOError:
        if time.monotonic() > end:
            sys.exit(75)
        time.sleep(0.2)
'

lock() {
    local code=0
    exec 9>"$setup/lock"
    "$1" -c "$take_lock" "$lock_seconds" </dev/null 2>>"$setup/log" &
    step=$!
    wait "$step" || code=$?
    step=""
    ((code == 75)) && fail "another set-up did not end within $lock_seconds s, got $setup/lock; end it"
    ((code)) && fail "the set-up cannot be locked, got $setup/lock ($(tail -n 1 "$setup/log")); name a Python that has \
adaptive-exec with PYTHON="
}

unlock() { exec 9>&-; }

fail_step() {
    unlock
    local why
    why=$(grep -i '^ *error' "$setup/log" | tail -n 2 | tr '\n' ' ')
    why=${why:-$(tail -n 2 "$setup/log" | tr '\n' ' ')}
    fail "$1 failed: ${why:-nothing was logged}; all of it is in $setup/log"
}

# Makes .venv, or mends one that was not finished. One that the user made gets the package and keeps the rest.
set_up() {
    local base
    base=$(find_base) || exit 3
    mkdir -p "$setup" 2>/dev/null && [[ -w $setup && -w $here ]] ||
        fail "no set-up can be written beside the script, got $here; make it writable, or name a Python that has \
adaptive-exec with PYTHON="
    trap 'stop 130' INT
    trap 'stop 143' TERM
    lock "$base"
    if ! is_set_up; then
        printf 'run_card.sh: setting up %s with %s, once\n' "$venv" "$("$base" --version 2>&1)" >&2
        : >"$setup/log"
        if [[ -x $venv/bin/python && ! -f $stamp && $(cat "$setup/building" 2>/dev/null) != ours ]]; then
            echo theirs >"$setup/building"
        else
            echo ours >"$setup/building"
            run_step "$base" -m venv --clear "$venv" || fail_step "making $venv"
        fi
        run_step "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --editable "$here" ||
            fail_step "pip install"
        want_stamp >"$stamp"
        rm -f "$setup/building"
    fi
    unlock
    trap - INT TERM
}

check_named
if ! python=$(find_ready); then
    set_up
    python=$venv/bin/python
fi
export ADAPTIVE_EXEC_PROGRAM="bash run_card.sh"
# -P: neither the current folder nor the script's hides a module; the clone's own code runs, installed or not.
case ${1:-} in
    card | watch | doctor | journal | supervise | version) ;;
    --version) set -- version ;;
    *) set -- run "$@" ;;
esac
exec "$python" -P "$here/adaptive_exec/__main__.py" "$@"
