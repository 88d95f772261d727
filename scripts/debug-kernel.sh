# SPDX-License-Identifier: GPL-2.0 OR MIT
#
# The debug kernel: built from the stock kernel's source with debug.config, which
# turns on everything that can watch a driver. Sourced after kernel.sh.

DEBUG_MAKE=(ARCH=arm64 LLVM=-19)

# build_debug_kernel: a tree to build modules against in $OUT/build; image and modules in $OUT/files,
# laid out as the distribution's packages are; the release's name in $OUT/release.
build_debug_kernel() {
    local config=$TOP/scripts/debug.config lost release modules nice=() make
    # A person's machine stays usable.
    [ -n "${CI:-}" ] || nice=(nice -n 10)
    set -e
    mkdir "$OUT/build"
    cd "$KERNEL_DIR/source"
    make=("${nice[@]}" make O="$OUT/build" "${DEBUG_MAKE[@]}")
    in_root "$ROOT" "${make[@]}" KCONFIG_ALLCONFIG="$config" allnoconfig
    lost=$(grep '^CONFIG_' "$config" | grep -vxFf "$OUT/build/.config" || true)
    [ -z "$lost" ] || die "this kernel cannot have" $lost
    in_root "$ROOT" "${make[@]}" -j"$(nproc)" Image modules
    release=$(cat "$OUT/build/include/config/kernel.release")
    modules=$OUT/files/usr/lib/modules/$release
    in_root "$ROOT" "${make[@]}" -s INSTALL_MOD_PATH="$OUT/files/usr" DEPMOD=true modules_install
    cp "$OUT/build/arch/arm64/boot/Image" "$modules/vmlinuz"
    printf '%s\n' "$release" >"$OUT/release"
    # Modules are built against headers, symbols and Rust metadata; the objects have done their duty.
    find "$OUT/build" -path "$OUT/build/scripts" -prune -o \
        \( -name '*.o' -o -name '*.a' -o -name 'vmlinux*' -o -name '.tmp_vmlinux*' -o -name '*.ko' \) -type f -exec rm {} +
    # As in prepare_tree: the entry is renamed when it is complete.
    sed -i "s|$OUT/|$DEBUG_DIR/|g" "$OUT/build/Makefile"
    ln -sfn "$KERNEL_DIR/source" "$OUT/build/source"
}

# ensure_debug_kernel: sets DEBUG_DIR and DEBUG_RELEASE.
ensure_debug_kernel() {
    ensure_kernel
    DEBUG_DIR=$CACHE/debug-kernel-$(hash_of "$(basename "$KERNEL_DIR")" "$(cat "$TOP/scripts/debug.config")" \
        "${DEBUG_MAKE[*]}" "$(declare -f build_debug_kernel)")
    if [ ! -d "$DEBUG_DIR" ]; then
        need_disk 3000
        stage debug-kernel "$DEBUG_DIR" "debug kernel, from the source of $KERNEL_RELEASE" build_debug_kernel
    fi
    read -r DEBUG_RELEASE <"$DEBUG_DIR/release"
}
