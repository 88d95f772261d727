# SPDX-License-Identifier: GPL-2.0 OR MIT
#
# What the guest's init, its plan and the test steps share.  Busybox sh.

GPU=/sys/bus/platform/devices/10000000.gpu
PCI=/sys/bus/pci/devices/0000:00:01.0
MODULES=/lib/magni/modules
[ -e /lib/magni/env.sh ] && . /lib/magni/env.sh

[ -e /lib/magni/tests.sh ] && . /lib/magni/tests.sh

# fail WORDS...: end the step with a reason.
fail() {
    echo "FAILED: $*"
    exit 1
}

# mark WORDS...: a line that the harness reads, in the kernel log too, so that
# each kernel message can be laid to the step it came from.
mark() {
    echo "<6>@magni $*" >/dev/kmsg
    printf '\n@magni %s\n' "$*"
}

# step NAME SECONDS COMMAND: run one step of the plan and report its exit status.
step() {
    mark begin "$1"
    timeout -s KILL "$2" sh -c ". /lib/magni/guest.sh; $3"
    status=$?
    if [ "$status" = 137 ]; then
        echo "killed after $2 s; the blocked tasks are in the kernel log"
        echo w >/proc/sysrq-trigger
    fi
    mark end "$1" "$status"
}

# need NAME SECONDS COMMAND: the same for a step without which the rest makes no sense.
need() {
    step "$@"
    [ "$status" = 0 ] || finish
}

# finish: the end of the plan.
finish() {
    mark done
    # Waits until all output has left: what the port still holds goes with the power.
    stty -F /dev/ttyAMA1 -opost 2>/dev/null
    poweroff -f
}

# config OFFSET BYTES: a field of the GPU's PCI function, as a hex number.
config() {
    printf '0x'
    dd if="$PCI/config" bs=1 skip=$(($1)) count="$2" 2>/dev/null |
        hexdump -v -e '1/'"$2"' "%0'"$(($2 * 2))"'x"'
}

# set_config OFFSET BYTES...: write hex bytes to the GPU's PCI function.
set_config() {
    local at=$1 bytes=
    shift
    for byte in "$@"; do bytes="$bytes\\x$byte"; done
    printf "$bytes" | dd of="$PCI/config" bs=1 seek=$((at)) conv=notrunc 2>/dev/null
}

# connect_interrupts: the GPU's three lines are MSIs that the GICv2m frame turns
# into SPIs 108, 109 and 110, which the device tree names.  No PCI driver binds
# the function, so it is set up here.
connect_interrupts() {
    [ -e "$PCI/config" ] || fail "no PCI function at $PCI: is the emulated GPU attached?"
    echo 1 >"$PCI/enable"
    local cap
    cap=$(config 0x34 1)
    while [ "$(config "$cap" 1)" != 0x05 ]; do
        cap=$(config $((cap + 1)) 1)
        [ $((cap)) != 0 ] || fail "the emulated GPU has no MSI capability"
    done
    local data=$((cap + 8))
    set_config $((cap + 4)) 40 00 02 08
    if [ $(($(config $((cap + 2)) 2) & 0x80)) != 0 ]; then
        set_config $((cap + 8)) 00 00 00 00
        data=$((cap + 12))
    fi
    set_config "$data" 8c 00
    # Four vectors, enabled; memory decoding and bus mastering, INTx off.
    set_config $((cap + 2)) 21 00
    set_config 4 06 04
    # A function without a driver that counts as asleep is left alone when the
    # system goes to sleep; else the kernel would undo all this.
    echo auto >"$PCI/power/control"
}

# control COMMAND...: give the emulated GPU an order of tests and print its reply; see
# "control help". Fails unless the reply is ok.
control() {
    local name port reply tries=0
    while :; do
        for name in /sys/class/virtio-ports/*/name; do
            [ "$(cat "$name" 2>/dev/null)" = magni.control ] && port=${name%/name}
        done
        [ -z "$port" ] || break
        tries=$((tries + 1))
        [ "$tries" -lt 100 ] || fail "there is no port magni.control"
        usleep 100000
    done
    exec 8<>"/dev/${port##*/}" || fail "the port magni.control is in use"
    echo "$*" >&8
    read -r reply <&8
    exec 8>&-
    echo "$reply"
    [ "${reply%% *}" = ok ]
}

# load_modules: what the driver depends on, in order.
load_modules() {
    for module in "$MODULES"/deps/*; do
        insmod "$module" || fail "insmod $module"
    done
}

# load_driver: the driver under test; it must bind and make its DRM nodes.
load_driver() {
    insmod "$MODULES/$MODULE.ko" $MODULE_ARGS || fail "insmod $MODULE.ko"
    bound || fail "$MODULE is loaded, but not bound to $GPU"
    node >/dev/null || fail "$MODULE is bound, but there is no DRM render node"
}

# bound: is the GPU bound to the driver under test?
bound() { [ "$(basename "$(readlink "$GPU/driver")")" = "$PLATFORM_DRIVER" ]; }

# node: the render node's path.
node() {
    local name
    name=$(cd "$GPU/drm" 2>/dev/null && ls -d renderD* 2>/dev/null | head -n 1)
    [ -n "$name" ] && [ -c "/dev/dri/$name" ] && echo "/dev/dri/$name"
}

# shell: give the console to a person.
shell() {
    {
        echo
        echo "Driver $MODULE on $(uname -r), render node $(node || echo none)."
        echo "Programs: $(ls /bin/smoke /bin/conformance /bin/stress 2>/dev/null | tr '\n' ' ')"
        echo "End with exit or poweroff -f; leave at once with Ctrl-A X."
    } >/dev/ttyAMA0
    dmesg -n 4
    setsid sh -c 'exec sh -i </dev/ttyAMA0 >/dev/ttyAMA0 2>&1'
}
