#!/bin/sh
# Have Docker Engine's programs, and a browser, installed where that is possible without asking: root on Debian or Ubuntu.
# Starting an engine is the tests' own work: they run one on a socket of its own and end it again.
set -eu

apt() { DEBIAN_FRONTEND=noninteractive apt-get -qq -o Acquire::Retries=5 -o DPkg::Lock::Timeout=300 "$@"; }

missing=""
if ! docker version >/dev/null 2>&1; then # no engine answers
    command -v dockerd >/dev/null 2>&1 || [ -x /usr/sbin/dockerd ] || missing="docker.io"
    command -v iptables >/dev/null 2>&1 || [ -x /usr/sbin/iptables ] || missing="$missing iptables"
fi
[ -x /bin/busybox ] || missing="$missing busybox-static"
command -v docker-registry >/dev/null 2>&1 || missing="$missing docker-registry" # pulls are tested against a registry of our own
# The daemon's page is tested in a real browser, which Ubuntu has only as a snap.
! grep -qx ID=debian /etc/os-release || command -v chromium >/dev/null 2>&1 || missing="$missing chromium"
# Some tests unpack servers from the system's packages, never installed: that takes the packages' lists.
lists() { ls /var/lib/apt/lists/*_Packages* >/dev/null 2>&1; }
if [ -z "$missing" ]; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1 && ! lists; then
        apt update || echo "no lists of the system's packages: a few tests will be skipped, with the reason" >&2
    fi
    exit 0
fi
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    # shellcheck disable=SC2086 - a list of words
    echo installing $missing "from the system's packages"
    apt update
    # shellcheck disable=SC2086 - a list of words
    apt install -y --no-install-recommends $missing >/dev/null
    # Where the package starts an engine by itself, wait for it: a second one must not begin beside it.
    tries=60
    while [ "$tries" -gt 0 ] && pidof dockerd >/dev/null 2>&1 && ! docker version >/dev/null 2>&1; do
        sleep 1
        tries=$((tries - 1))
    done
else
    echo "no Docker engine or browser here and no right to install them: their tests will be skipped, with the reason" >&2
fi
