#!/usr/bin/env bash
# Make the virtual environment, or bring it up to date.
#
#   scripts/venv.sh run     what meshcall needs to run
#   scripts/venv.sh dev     that, and what the tests and linters need
#
# Needs Python 3.11 or newer (PYTHON=... chooses one) and a network or a pip cache; VENV=... puts it elsewhere.
# An environment whose making was interrupted, or whose versions are no longer the wanted ones, is made anew.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
level=${1:-dev}
venv=${VENV:-.venv}
unfinished=$venv/.unfinished

say() { printf '%s\n' "$*" >&2; }

find_python() {
    local candidate
    for candidate in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11 python}; do
        if command -v "$candidate" >/dev/null &&
            "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    say "error: meshcall needs Python 3.11 or newer${PYTHON:+ (PYTHON=$PYTHON is not)}"
    say "hint: install it (Debian, Ubuntu: sudo apt-get install python3 python3-venv), or set PYTHON"
    return 1
}

# Debian and Ubuntu ship Python without the module that puts pip into a new environment.
ensure_venv_module() {
    "$1" -c 'import ensurepip, venv' 2>/dev/null && return
    local package
    package=python$("$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])')-venv
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        say "installing $package"
        apt-get update -qq >&2 || true
        DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$package" >&2 && return
    fi
    say "error: $1 lacks the venv module"
    say "hint: sudo apt-get install $package"
    return 1
}

case $level in
    run) groups=() ;;
    dev) groups=(--group test --group lint) ;;
    *) say "usage: scripts/venv.sh run|dev"; exit 2 ;;
esac

python=$(find_python)
wanted=$({ cat pyproject.toml constraints.txt; "$python" -VV; pwd; } | sha256sum | cut -d ' ' -f 1)
stamp() { cat "$venv/.stamp-$1" 2>/dev/null || true; }

exec 9>"${TMPDIR:-/tmp}/meshcall-venv-$(id -u)-$(pwd | sha256sum | cut -c 1-16).lock"
if command -v flock >/dev/null; then
    flock 9  # two makes at once: the second waits and then finds the work done
fi

if [ ! -e "$unfinished" ] && { [ "$(stamp dev)" = "$wanted" ] || [ "$(stamp "$level")" = "$wanted" ]; }; then
    exit 0
fi

if [ -e "$unfinished" ] || [ "$(stamp run)" != "$wanted" ]; then
    # Refuse to delete a folder that is not an environment of ours.
    if [ -e "$venv" ] && [ ! -e "$venv/pyvenv.cfg" ] && [ ! -e "$unfinished" ] && [ -n "$(ls -A "$venv")" ]; then
        say "error: $venv exists and is no virtual environment; move it away"
        exit 1
    fi
    ensure_venv_module "$python"
    say "making $venv with $("$python" -V)"
    rm -rf "$venv"
    mkdir -p "$venv"
    touch "$unfinished"
    "$python" -m venv "$venv"
fi

touch "$unfinished"
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
"$venv/bin/python" -m pip install --quiet --upgrade 'pip>=25.1'  # older ones don't know --group
"$venv/bin/python" -m pip install --quiet --constraint constraints.txt --editable . "${groups[@]}"
printf '%s\n' "$wanted" >"$venv/.stamp-run"
printf '%s\n' "$wanted" >"$venv/.stamp-$level"
rm "$unfinished"
