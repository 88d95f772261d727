# SPDX-License-Identifier: GPL-2.0 OR MIT
#
# The Debian root with the toolchain that built the stock kernel, the cross
# libraries for the guest programs, and QEMU. Sourced after lib.sh.

ROOT_PACKAGES=(
    # The compilers that Debian's own kernel is built with.
    build-essential gcc-14-aarch64-linux-gnu rustc rust-src bindgen rustfmt rust-clippy
    libclang-19-dev clang-19 lld-19 llvm-19
    # What Kbuild calls.
    flex bison bc libssl-dev libelf-dev pahole python3 kmod xz-utils cpio rsync
    # The userspace side: the emulated GPU, the harness, the guest programs.
    cargo pkg-config device-tree-compiler e2fsprogs ca-certificates git
    libstd-rust-dev:arm64 libc6-dev:arm64
    # A shell for the guest.
    busybox-static:arm64
)
BACKPORT_PACKAGES=(qemu-system-arm)

make_root() {
    local uri keyring=/usr/share/keyrings/debian-archive-keyring.gpg list packages
    command -v mmdebstrap >/dev/null || die "mmdebstrap is missing: install it with apt-get install mmdebstrap"
    [ -e "$keyring" ] || die "$keyring is missing: install it with apt-get install debian-archive-keyring"
    uri=$(mirror) || exit 1
    list="deb [signed-by=$keyring] $uri $SUITE main
deb [signed-by=$keyring] $uri $SUITE-backports main"
    packages=$(IFS=,; echo "${ROOT_PACKAGES[*]}")
    printf '%s\n' "$list" | mmdebstrap --variant=apt --architectures=amd64,arm64 \
        --aptopt='APT::Install-Recommends "false"' \
        --include="$packages" \
        --customize-hook='chroot "$1" apt-get install -y -t '"$SUITE-backports ${BACKPORT_PACKAGES[*]}" \
        --customize-hook='chroot "$1" apt-get clean' \
        --skip=cleanup/apt/lists \
        "$SUITE" "$OUT" -
}

ROOT=$CACHE/root-$(hash_of "$SUITE" "${ROOT_PACKAGES[@]}" "${BACKPORT_PACKAGES[@]}" "$(declare -f make_root)")

ensure_root() {
    [ -d "$ROOT" ] && return 0
    need_tools
    need_disk 8000
    stage root "$ROOT" "Debian $SUITE root with the toolchain and QEMU" make_root
}
