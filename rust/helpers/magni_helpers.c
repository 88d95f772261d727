// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Inline C functions that the Rust side calls and that the kernel's own helpers do not cover.
 */
#include <linux/module.h>
#include <drm/drm_gem.h>
#include <drm/drm_gem_shmem_helper.h>
#include <drm/drm_gpuvm.h>
#include <drm/drm_vma_manager.h>

#ifndef CONFIG_PM
#error "Magni needs a kernel with CONFIG_PM: it turns the GPU off when nobody uses it"
#endif

#ifndef __rust_helper
#define __rust_helper
#endif

/*
 * The kernel builds its helpers for DRM only where DRM, and what uses them, is built in. So they
 * are built for this module, whatever the kernel has.
 */
#ifndef CONFIG_DRM
#define CONFIG_DRM 1
#endif
#ifndef CONFIG_DRM_GEM_SHMEM_HELPER
#define CONFIG_DRM_GEM_SHMEM_HELPER 1
#endif
#ifndef CONFIG_RUST_DRM_GPUVM
#define CONFIG_RUST_DRM_GPUVM 1
#endif
#include "drm.c"
#include "drm_gpuvm.c"

#include "magni.c"
