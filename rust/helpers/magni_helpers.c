// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Inline C functions that the Rust side calls and that the kernel's own helpers do not cover.
 */
#include <linux/module.h>
#include <drm/drm_gem.h>
#include <drm/drm_gem_shmem_helper.h>
#include <drm/drm_gpuvm.h>
#include <drm/drm_vma_manager.h>

#ifndef __rust_helper
#define __rust_helper
#endif

#if !IS_BUILTIN(CONFIG_DRM)
/* The kernel's helpers for DRM exist only where DRM is built in: build them for this module. */
#define CONFIG_DRM 1
#define CONFIG_DRM_GEM_SHMEM_HELPER 1
#define CONFIG_RUST_DRM_GPUVM 1
#include "drm.c"
#include "drm_gpuvm.c"
#endif

#include "magni.c"
