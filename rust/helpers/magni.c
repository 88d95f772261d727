// SPDX-License-Identifier: GPL-2.0 OR MIT
/* Helpers beyond the kernel's own: one function each, named rust_helper_<function>. */
