#!/usr/bin/env bash
# Install the system packages that some tests need: as root on Debian and Ubuntu. Elsewhere it says what to run
# and goes on; the tests that need them are skipped and say so again.
set -uo pipefail

say() { printf '%s\n' "$*" >&2; }

# Users' PATH often lacks the folders that hold ip and nft.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

missing=()
need() { # PACKAGE COMMAND...: any of the commands will do
    local package=$1 command
    shift
    for command in "$@"; do
        command -v "$command" >/dev/null && return
    done
    missing+=("$package")
}

disable() { # SERVICE: it does not start with the machine
    local found=
    command -v systemctl >/dev/null && systemctl disable "$1" >/dev/null 2>&1 && found=1
    command -v update-rc.d >/dev/null && update-rc.d "$1" disable >/dev/null 2>&1 && found=1
    [ -n "$found" ] || say "note: $1 was installed for the lab; keep it from starting with the machine"
}

need iproute2 ip
need nftables nft
need procps ps
need util-linux unshare
need openssl openssl
need coturn turnserver
need stun-client stun
need miniupnpd-nftables miniupnpd
need miniupnpc upnpc
need natpmpc natpmpc
need faketime faketime
need systemd systemd-analyze
need wireshark-common capinfos
need chromium chromium chromium-browser google-chrome

# Links with delay are TAP devices. Whoever runs udev has these rights: 50-udev-default.rules says the same.
[ -c /dev/net/tun ] && [ "$(id -u)" = 0 ] && chmod 0666 /dev/net/tun

[ ${#missing[@]} = 0 ] && exit 0

install="apt-get install -y --no-install-recommends ${missing[*]}"
if ! command -v apt-get >/dev/null; then
    say "note: some tests need these programs and are skipped without: ${missing[*]}"
elif [ "$(id -u)" != 0 ]; then
    say "note: some tests are skipped until you run: sudo $install"
else
    say "installing: ${missing[*]}"
    apt-get update -qq >&2 || true
    # coturn is for the lab only: it is not started, now or when the machine starts.
    if [ ! -e /usr/sbin/policy-rc.d ]; then
        printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
        chmod +x /usr/sbin/policy-rc.d
        trap 'rm -f /usr/sbin/policy-rc.d' EXIT
    fi
    # One by one, so that a package that this release lacks costs only the tests that need it.
    for package in "${missing[@]}"; do
        DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$package" >&2 ||
            say "note: $package could not be installed; tests that need it are skipped"
        [ "$package" = coturn ] && disable coturn
    done
fi
exit 0
