# SPDX-License-Identifier: GPL-2.0 OR MIT
#
# Test steps that are commands on the driver rather than programs.  Busybox sh;
# guest.sh includes it.

DEVICE=$(basename "$GPU")
PLATFORM=/sys/bus/platform/drivers/$PLATFORM_DRIVER

unload() { rmmod "$MODULE"; }
bind() { echo "$DEVICE" >"$PLATFORM/bind"; }
unbind() { echo "$DEVICE" >"$PLATFORM/unbind"; }

# must_bind: bind the driver, with its DRM node.
must_bind() {
    bind || fail "$PLATFORM_DRIVER does not bind"
    bound || fail "$PLATFORM_DRIVER is not bound after a bind without error"
    node >/dev/null || fail "there is no DRM render node after bind"
}

# must_unbind: unbind the driver; its DRM node goes.
must_unbind() {
    unbind || fail "$PLATFORM_DRIVER does not unbind"
    bound && fail "$PLATFORM_DRIVER is still bound after an unbind without error"
    node >/dev/null && fail "the DRM node is still there after unbind"
    return 0
}

# each PROGRAM NAME...: run PROGRAM's tests of these names, each in a process of its own; fails when one
# of them does.
each() {
    local name program=$1 bad=0
    shift
    for name in "$@"; do
        timeout -s KILL 300 "$program" --color never --exact "$name" || bad=1
    done
    return $bad
}

# used_once: memory that the kernel uses and that no cache can give back, in KiB. Free pages on the
# processors' own lists count as free.
used_once() {
    local cache
    sync
    echo 3 >/proc/sys/vm/drop_caches
    for cache in /sys/kernel/slab/*/shrink; do echo 1 >"$cache" 2>/dev/null; done
    awk '
        $1 == "MemTotal:" { used += $2 }
        /^(MemFree|Buffers|Cached|SReclaimable|AnonPages|PageTables):/ { used -= $2 }
        $1 == "count:" { used -= 4 * $2 }
        END { print used }
    ' /proc/meminfo /proc/zoneinfo
}

# used: the median of nine such looks; single ones differ by up to 400 KiB on an idle system.
used() {
    repeat 9 used_once | sort -n | sed -n 5p
}

# repeat ROUNDS COMMAND: run COMMAND so often.
repeat() {
    local i rounds=$1
    shift
    for i in $(seq "$rounds"); do "$@"; done
}

# no_leak ROUNDS BYTES COMMAND: run COMMAND so often; less than BYTES per round are left in use.
no_leak() {
    local rounds=$1 limit=$2 before after left
    shift 2
    # The first rounds fill pools that are kept.
    repeat 20 "$@"
    before=$(used)
    repeat "$rounds" "$@"
    after=$(used)
    left=$(((after - before) * 1024 / rounds))
    echo "in use before $before KiB, after $rounds rounds $after KiB: $left bytes per round"
    [ "$left" -lt "$limit" ] || fail "each round leaves about $left bytes in use; the limit is $limit"
}

# leaks: the driver goes, and kmemleak finds nothing that it has left behind.
leaks() {
    local report since file=/sys/kernel/debug/kmemleak
    grep "\[$MODULE\]" /proc/kallsyms | sort >/tmp/symbols
    if grep -q "^$MODULE " /proc/modules; then
        unload || fail "rmmod $MODULE"
    fi
    # kmemleak says nothing of what is younger than five seconds, nor of what has changed since
    # it last looked.
    since=$(cut -d. -f1 /proc/uptime)
    echo scan >$file || fail "this kernel has no kmemleak"
    while [ $(($(cut -d. -f1 /proc/uptime) - since)) -lt 7 ]; do usleep 200000; done
    echo scan >$file
    report=$(cat $file)
    [ -n "$report" ] || return 0
    # The module's own functions, which have no names any more.
    echo "$report" | awk '
        BEGIN { while ((getline line <"/tmp/symbols") > 0) { split(line, f, " "); at[++n] = f[1]; name[n] = f[3] } }
        /^ +0x[0-9a-f]+$/ {
            for (i = n; i > 0 && at[i] > substr($1, 3); i--);
            if (i > 0) $0 = $0 " (after " name[i] ")"
        }
        { print }'
    fail "kmemleak has found leaks"
}

# plant BUG: a module commits it while it is loaded, and goes.
plant() {
    insmod "$MODULES/planted.ko" bug="$1" || fail "insmod planted.ko"
    rmmod planted
}

load_unload_once() {
    unload || fail "rmmod $MODULE"
    load_driver
}

bind_unbind_once() {
    must_unbind
    must_bind
}

# taint: nothing but "out of tree" (12) and "unsigned" (13), and these only for a module of ours.
taint() {
    local flags allowed=0
    [ "$MODULE" = magni ] && allowed=$((1 << 12 | 1 << 13))
    # Not read: it asks for one byte at a time, and this file has only one answer.
    flags=$(cat /proc/sys/kernel/tainted)
    echo "taint flags: $flags"
    [ $((flags & ~allowed)) = 0 ] || fail "the kernel is tainted: $flags, allowed are $allowed"
}

# busy_while_open: rmmod is refused while a file of the device is open.
busy_while_open() {
    exec 3<>"$(node)" || fail "opening the render node"
    unload 2>/tmp/rmmod && fail "rmmod succeeded with an open file"
    cat /tmp/rmmod
    grep -qi 'temporarily unavailable\|busy\|in use' /tmp/rmmod || fail "rmmod does not say that the module is in use"
    exec 3>&-
    bound || fail "the refused rmmod has unbound the driver"
}

# unbind_with_file_open: the device goes under an open file, comes back, and works.
unbind_with_file_open() {
    exec 3<>"$(node)" || fail "opening the render node"
    must_unbind
    must_bind
    exec 3>&-
    smoke || fail "smoke after the device came back"
}

# interrupts: how often the GPU has raised its job interrupt.
job_interrupts() { awk '/-job|10000000.gpu/ { for (i = 2; i <= 3; i++) n += $i } END { print n + 0 }' /proc/interrupts; }

# unbind_with_jobs_running: the device goes while jobs run; their process ends, and the device works when it is back.
unbind_with_jobs_running() {
    local before tries=0
    before=$(job_interrupts)
    stress --jobs 1000000 >/tmp/stress.log 2>&1 &
    local pid=$!
    until [ $(($(job_interrupts) - before)) -ge 100 ]; do
        tries=$((tries + 1))
        kill -0 "$pid" 2>/dev/null || { cat /tmp/stress.log; fail "stress ended before the device was unbound"; }
        [ "$tries" -lt 600 ] || fail "no jobs run"
        usleep 100000
    done
    must_unbind
    wait "$pid"
    local status=$?
    tail -n 5 /tmp/stress.log
    [ "$status" != 0 ] || fail "stress says that all jobs passed, but the device went away"
    must_bind
    smoke || fail "smoke after the device came back"
}

# bad_firmware FILE: probe is refused with this firmware, and works when it is put right.
bad_firmware() {
    if [ "$1" = missing ]; then
        rm "$FIRMWARE"
    else
        cp "/lib/magni/firmware/$1" "$FIRMWARE"
    fi
    bind 2>&1 && { cp /lib/magni/firmware/good "$FIRMWARE"; fail "the driver binds with this firmware"; }
    bound && fail "the driver is bound after a bind that failed"
    echo "<6>@test put right" >/dev/kmsg
    cp /lib/magni/firmware/good "$FIRMWARE"
    must_bind
    must_unbind
}

# bad_firmware_once FILE: a probe that fails, for leak tests.
bad_firmware_once() {
    cp "/lib/magni/firmware/$1" "$FIRMWARE"
    bind 2>/dev/null && fail "the driver binds with firmware $1"
    return 0
}

# not_bound: the module loads, but does not bind to the device in /sys whose name holds "gpu".
not_bound() {
    insmod "$MODULES/$MODULE.ko" $MODULE_ARGS || fail "insmod $MODULE.ko"
    ls -d "$PLATFORM"/*gpu* 2>/dev/null && fail "the driver has bound"
    ls -d /dev/dri/renderD* 2>/dev/null && fail "there is a DRM node"
    unload || fail "rmmod $MODULE"
}
