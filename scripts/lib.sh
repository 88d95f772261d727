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

# Where cargo builds. Each checkout has its own: cargo tells files apart by their path in the
# workspace and their age, and would take another checkout's program for this one's.
TARGET=$CACHE/target/$(hash_of "$TOP")

# stage NAME DIR TITLE FUNCTION [ARGUMENT...]: make the cache entry DIR by running FUNCTION,
# of these scripts, with $OUT set to an empty folder that becomes DIR when it succeeds.
# Two runs at once: the second waits for the first. Interrupted: starts anew.
stage() {
    local name=$1 dir=$2 title=$3 started=$SECONDS log=$CACHE/log/$1.log lock pid rc=0
    shift 3
    [ -d "$dir" ] && return 0
    exec {lock}>"$CACHE/.lock-$name"
    if ! flock -n "$lock"; then
        say "$title: another run is at it, waiting"
        flock "$lock"
    fi
    if [ ! -d "$dir" ]; then
        need_privileges
        export OUT=$dir.partial
        remove_tree "$OUT"
        mkdir -p "$OUT"
        say "$title ..."
        contained "$@" {lock}>&- >"$log" 2>&1 &
        pid=$!
        while kill -0 "$pid" 2>/dev/null; do
            timeout 15 tail -s 0.2 --pid="$pid" -f /dev/null {lock}>&- ||
                say "  $((SECONDS - started)) s: $(tail -n 1 "$log" | tr -dc '[:print:]' | cut -c1-100)"
        done
        wait "$pid" || rc=$?
        if [ "$rc" -ne 0 ]; then
            die "$title failed: $(why_failed "$log") (log: $log)"
        fi
        mv "$OUT" "$dir"
        say "$title: done in $((SECONDS - started)) s"
    fi
    exec {lock}>&-
}

# contained FUNCTION [ARGUMENT...]: become a fresh shell that runs FUNCTION as root, possibly
# of a user namespace only. Its processes have a namespace of their own and
# die with the caller, so that nothing writes to the cache when the lock is gone.
contained() {
    local user=()
    [ "$(id -u)" = 0 ] || user=(unshare --user --map-root-user --map-auto)
    export KERNEL_RELEASE KERNEL_VERSION KERNEL_FILES KERNEL_DIR DEBUG_DIR
    exec "${user[@]}" setpriv --pdeathsig KILL unshare --mount --propagation private --pid --fork --kill-child \
        bash -euo pipefail -c '
            scripts=$0
            . "$scripts/lib.sh"
            . "$scripts/root.sh"
            . "$scripts/kernel.sh"
            . "$scripts/debug-kernel.sh"
            "$@"
        ' "$TOP/scripts" "$@" </dev/null
}

# need_tools: fail early where a tool of the host is missing.
need_tools() {
    local tool package
    while read -r tool package; do
        command -v "$tool" >/dev/null || die "$tool is missing: install it with apt-get install $package"
    done <<end
mmdebstrap mmdebstrap
unshare util-linux
setpriv util-linux
flock util-linux
dpkg-deb dpkg
tar tar
xz xz-utils
end
}

# need_privileges: fail early, with what to do, where no file system can be mounted.
need_privileges() {
    local ns=(--mount)
    [ "$(id -u)" = 0 ] || ns+=(--user --map-root-user --map-auto)
    unshare "${ns[@]}" true 2>/dev/null && return 0
    if [ "$(id -u)" = 0 ]; then
        die "missing privileges: root may not make a mount namespace here; run this where CAP_SYS_ADMIN is given"
    elif ! command -v newuidmap >/dev/null; then
        die "missing privileges: run this as root, or install newuidmap with apt-get install uidmap"
    elif ! grep -q "^\($(id -un)\|$(id -u)\):" /etc/subuid /etc/subgid 2>/dev/null; then
        die "missing privileges: run this as root, or give $(id -un) a range of ids with usermod --add-subuids 100000-165535 --add-subgids 100000-165535 $(id -un)"
    else
        die "missing privileges: run this as root, or allow user namespaces (sysctl kernel.unprivileged_userns_clone=1)"
    fi
}

# why_failed LOG: the likely cause in words, from what the tools print.
why_failed() {
    if grep -qiE 'no space left on device' "$1"; then
        echo "the disk is full: free some space or set MAGNI_CACHE to another disk"
    elif grep -qiE 'temporary failure (in )?resolving|could not (resolve|connect)|network is unreachable|unable to connect|connection (timed out|refused)|failed to (fetch|download)|unable to fetch' "$1"; then
        echo "a package could not be downloaded: check the network and the mirror (MAGNI_MIRROR)"
    elif grep -qiE 'unable to locate package|has no installation candidate|no packages found' "$1"; then
        echo "a package is missing from the mirror: check that MAGNI_MIRROR carries $SUITE and $SUITE-backports"
    elif grep -qiE 'operation not permitted|newuidmap|permission denied' "$1"; then
        echo "missing privileges: run as root, or allow user namespaces and install uidmap with a subuid range for $(id -un)"
    else
        tail -n 15 "$1" >&2
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
    need_privileges
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
