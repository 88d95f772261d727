# SPDX-License-Identifier: GPL-2.0 OR MIT
#
# What every script shares: the cache, messages, locked and resumable build
# stages, and the Debian root that holds the toolchain. Source it, do not run it.

# The kernel series the project is built for. The exact release is looked up in
# the backports suite by kernel.sh; nothing else names one.
KERNEL_SERIES=7.3
SUITE=trixie

TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
CACHE=${MAGNI_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/magni}
mkdir -p "$CACHE/log" || {
    echo "magni: cannot create the cache folder $CACHE: set MAGNI_CACHE to a writable place" >&2
    exit 1
}
CACHE=$(cd "$CACHE" && pwd -P)

say() { printf '%s\n' "magni: $*" >&2; }
die() {
    say "$*"
    exit 1
}

# need_disk MIB: fail early, with what to do, when the cache's disk is too full.
need_disk() {
    local free
    free=$(df -Pm "$CACHE" | awk 'NR == 2 { print $4 }')
    [ "$free" -ge "$1" ] || die "$CACHE has $free MiB free and this step needs $1: free some space or set MAGNI_CACHE"
}

# hash_of WORDS...: a short key for a cache entry, from everything that goes in.
hash_of() { printf '%s\0' "$@" | sha256sum | cut -c1-12; }

# stage NAME DIR TITLE COMMAND...: make the cache entry DIR by running COMMAND
# with $OUT set to an empty folder that becomes DIR when the command succeeds.
# Two runs at once: the second waits for the first. Interrupted: starts anew.
stage() {
    local name=$1 dir=$2 title=$3 started log tail_pid rc=0
    shift 3
    [ -d "$dir" ] && return 0
    log=$CACHE/log/$name.log
    (
        if ! flock -n 9; then
            say "$title: another run is at it, waiting"
            flock 9
        fi
        [ -d "$dir" ] && exit 0
        started=$SECONDS
        OUT=$dir.partial
        remove_tree "$OUT"
        mkdir -p "$OUT"
        say "$title ..."
        (
            while sleep 15; do
                say "  $((SECONDS - started)) s: $(tail -n 1 "$log" 2>/dev/null | tr -dc '[:print:]' | cut -c1-100)"
            done
        ) 9>&- &
        tail_pid=$!
        ("$@") 9>&- >"$log" 2>&1 || rc=$?
        kill "$tail_pid" 2>/dev/null
        wait "$tail_pid" 2>/dev/null
        if [ "$rc" -ne 0 ]; then
            tail -n 15 "$log" >&2
            die "$title failed: $(why_failed "$log") (whole log: $log)"
        fi
        mv "$OUT" "$dir"
        say "$title: done in $((SECONDS - started)) s"
    ) 9>"$CACHE/.lock-$name" || exit 1
}

# why_failed LOG: the likely cause in words, from what the tools print.
why_failed() {
    if grep -qiE 'no space left on device' "$1"; then
        echo "the disk is full: free some space or set MAGNI_CACHE to another disk"
    elif grep -qiE 'temporary failure (in )?resolving|could not (resolve|connect)|network is unreachable|unable to connect|failed to fetch' "$1"; then
        echo "a package could not be downloaded: check the network and the mirror (MAGNI_MIRROR)"
    elif grep -qiE 'unable to locate package|has no installation candidate|no packages found' "$1"; then
        echo "a package is missing from the mirror: check that MAGNI_MIRROR carries $SUITE and $SUITE-backports"
    elif grep -qiE 'operation not permitted|newuidmap|permission denied' "$1"; then
        echo "missing privileges: run as root, or allow user namespaces and install uidmap with a subuid range for $(id -un)"
    else
        echo "see the lines above"
    fi
}

# remove_tree DIR: also where the files belong to mapped users.
remove_tree() {
    [ -e "$1" ] || return 0
    if [ "$(id -u)" = 0 ]; then
        rm -rf --one-file-system "$1"
    else
        unshare --user --map-root-user --map-auto rm -rf --one-file-system "$1"
    fi
}

# mirror: the Debian mirror, from this machine's own apt configuration.
mirror() {
    local uri=${MAGNI_MIRROR:-}
    [ -n "$uri" ] || uri=$(apt-get indextargets --format '$(REPO_URI)' \
        'Identifier: Packages' 'Origin: Debian' 'Label: Debian' 2>/dev/null | sort -u | head -n 1)
    [ -n "$uri" ] || die "no Debian mirror in apt's configuration: run apt-get update, or set MAGNI_MIRROR to a mirror's address"
    printf '%s\n' "$uri"
}

# in_root ROOT COMMAND...: run COMMAND in the Debian root, in the current folder, with
# the checkout and the cache at their own paths.
in_root() {
    local root=$1
    shift
    local ns=(--mount --propagation private)
    [ "$(id -u)" = 0 ] || ns+=(--user --map-root-user --map-auto)
    ROOT=$root TOP=$TOP CACHE=$CACHE unshare "${ns[@]}" bash -c '
        set -e
        for dir in /proc /sys /dev /tmp "$TOP" "$CACHE" ${MAGNI_BIND:-}; do
            mkdir -p "$ROOT$dir"
            mount --rbind "$dir" "$ROOT$dir"
        done
        for file in /etc/resolv.conf /etc/hosts /etc/ssl/certs/ca-certificates.crt; do
            [ -e "$file" ] || continue
            mkdir -p "$ROOT$(dirname "$file")"
            [ -e "$ROOT$file" ] || : >"$ROOT$file"
            mount --bind "$(readlink -f "$file")" "$ROOT$file"
        done
        export HOME=$CACHE/home CARGO_HOME=$CACHE/cargo LC_ALL=C.UTF-8 TERM=${TERM:-dumb}
        export PATH=/usr/sbin:/usr/bin:/sbin:/bin
        export CARGO_RESOLVER_INCOMPATIBLE_RUST_VERSIONS=fallback
        export CARGO_HTTP_CAINFO=/etc/ssl/certs/ca-certificates.crt
        mkdir -p "$HOME" "$CARGO_HOME"
        cwd=$PWD
        exec chroot "$ROOT" /bin/sh -c "cd \"\$0\" && exec \"\$@\"" "$cwd" "$@"
    ' in_root "$@"
}
