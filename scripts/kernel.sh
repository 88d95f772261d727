# SPDX-License-Identifier: GPL-2.0 OR MIT
#
# The stock kernel: its release, a tree to build modules against, its image and
# its modules. Sourced after root.sh.

KERNEL_ARCH=arm64
KERNEL_MAKE=(ARCH=arm64 CROSS_COMPILE=aarch64-linux-gnu- CC=aarch64-linux-gnu-gcc-14 HOSTCC=gcc)

# find_release: write "RELEASE VERSION" of the newest kernel of the series to $OUT/release.
find_release() {
    local release version
    in_root "$ROOT" apt-get update --error-on=any
    release=$(in_root "$ROOT" apt-cache pkgnames "linux-headers-$KERNEL_SERIES." |
        sed -n "s/^linux-headers-\($KERNEL_SERIES\.[0-9]*+deb[0-9]*-$KERNEL_ARCH\)$/\1/p" | sort -V | tail -n 1)
    [ -n "$release" ] || die "no linux-headers-$KERNEL_SERIES.*-$KERNEL_ARCH: no packages found in $SUITE-backports"
    version=$(in_root "$ROOT" apt-cache show "linux-headers-$release:$KERNEL_ARCH" |
        sed -n 's/^Version: //p' | sort -V | tail -n 1)
    printf '%s %s\n' "$release" "$version" >"$OUT/release"
}

fetch_kernel() {
    mkdir -p "$OUT/deb"
    cd "$OUT/deb"
    in_root "$ROOT" apt-get update --error-on=any
    in_root "$ROOT" apt-get -o APT::Sandbox::User=root download \
        "linux-source-$KERNEL_SERIES=$KERNEL_VERSION" \
        "linux-config-$KERNEL_SERIES:$KERNEL_ARCH=$KERNEL_VERSION" \
        "linux-headers-$KERNEL_RELEASE:$KERNEL_ARCH" \
        "linux-binary-$KERNEL_RELEASE:$KERNEL_ARCH" \
        "linux-modules-$KERNEL_RELEASE:$KERNEL_ARCH"
    for deb in *.deb; do
        echo "unpacking $deb"
        dpkg-deb -x "$deb" "$OUT/unpacked"
    done
    rm -r "$OUT/deb"
}

# prepare_tree: an output tree in $OUT/build whose headers, symbols and version are the stock kernel's.
prepare_tree() {
    local src=$KERNEL_FILES/unpacked
    set -e
    echo "unpacking the source"
    mkdir "$OUT/source" "$OUT/build"
    tar -C "$OUT/source" --strip-components=1 -xf "$src/usr/src/linux-source-$KERNEL_SERIES.tar.xz"
    xz -dc "$src/usr/src/linux-config-$KERNEL_SERIES/config.arm64_none_arm64.xz" >"$OUT/build/.config"
    cd "$OUT/source"
    in_root "$ROOT" make O="$OUT/build" "${KERNEL_MAKE[@]}" olddefconfig
    in_root "$ROOT" make O="$OUT/build" "${KERNEL_MAKE[@]}" -j"$(nproc)" prepare
    grep -q '^CONFIG_RUST=y' "$OUT/build/.config" || die "the prepared kernel tree lost CONFIG_RUST: the toolchain in $ROOT does not fit it"
    cp "$src/usr/src/linux-headers-$KERNEL_RELEASE/Module.symvers" "$OUT/build/"
    cp "$src/usr/src/linux-headers-$KERNEL_RELEASE/arch/arm64/module.lds" "$OUT/build/scripts/module.lds"
    # The entry is renamed when it is complete: let Kbuild find its source there.
    sed -i "s|$OUT/|$KERNEL_DIR/|g" "$OUT/build/Makefile"
    ln -sfn "$KERNEL_DIR/source" "$OUT/build/source"
    printf '%s' "$KERNEL_RELEASE" >"$OUT/build/include/config/kernel.release"
    printf '#define UTS_RELEASE "%s"\n' "$KERNEL_RELEASE" >"$OUT/build/include/generated/utsrelease.h"
}

ensure_kernel() {
    ensure_root
    stage release "$CACHE/release-$KERNEL_SERIES" "looking up the newest $KERNEL_SERIES kernel" find_release
    read -r KERNEL_RELEASE KERNEL_VERSION <"$CACHE/release-$KERNEL_SERIES/release"
    KERNEL_DIR=$CACHE/kernel-$KERNEL_RELEASE-$(hash_of "$KERNEL_VERSION" "$(basename "$ROOT")" "$(declare -f prepare_tree)")
    KERNEL_FILES=$CACHE/kernel-files-$KERNEL_RELEASE-$(hash_of "$KERNEL_VERSION")
    [ -d "$KERNEL_DIR" ] && [ -d "$KERNEL_FILES" ] && return 0
    need_disk 6000
    stage kernel-files "$KERNEL_FILES" "stock kernel $KERNEL_RELEASE: packages" fetch_kernel
    stage kernel-tree "$KERNEL_DIR" "stock kernel $KERNEL_RELEASE: tree for building modules" prepare_tree
}
