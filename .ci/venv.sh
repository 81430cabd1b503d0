#!/bin/sh
# Make a virtual environment with everything that developing Nexus needs: .ci/venv.sh PYTHON FOLDER
set -eu
python=$1
folder=$2

# `python3` may be older than what we need while a newer one stands beside it.
suits() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }
for candidate in "$python" python3.13 python3.12 python3.11; do
    if command -v "$candidate" >/dev/null 2>&1 && suits "$candidate"; then python=$candidate; break; fi
done
suits "$python" || { echo "error: Nexus needs Python 3.11 or newer; set PYTHON=/path/to/python3.11" >&2; exit 1; }

if [ ! -x "$folder/bin/python" ] || ! "$folder/bin/python" -c 'import pip' 2>/dev/null; then
    rm -rf "$folder"
    if ! "$python" -m venv "$folder" 2>/dev/null; then
        # Debian keeps the part of venv that bootstraps pip in a package of its own.
        if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
            version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
            apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "python$version-venv" >/dev/null
            rm -rf "$folder"
            "$python" -m venv "$folder"
        else
            echo "error: this Python cannot make virtual environments; install python3-venv" >&2
            exit 1
        fi
    fi
fi
export PIP_ROOT_USER_ACTION=ignore PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_RETRIES=10
install() { "$folder/bin/python" -m pip install --quiet "$@"; }
install --upgrade 'pip>=25.1'
install --editable '.[all]' --group dev
