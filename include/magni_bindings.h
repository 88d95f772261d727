/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * The C interfaces that the stock kernel's Rust bindings lack. bindgen reads
 * this file; what it takes from it is listed in rust/bindings/allowlist.
 */
#include <linux/hrtimer_types.h>

#include <drm/drm_auth.h>
#include <drm/drm_device.h>
#include <drm/drm_drv.h>
#include <drm/drm_exec.h>
#include <drm/drm_file.h>
#include <drm/drm_gem.h>
#include <drm/drm_gem_shmem_helper.h>
#include <drm/drm_gpuvm.h>
#include <drm/drm_ioctl.h>
#include <drm/drm_print.h>
#include <drm/drm_syncobj.h>
#include <drm/gpu_scheduler.h>
#include <linux/capability.h>
#include <linux/dma-fence.h>
#include <linux/dma-fence-array.h>
#include <linux/dma-fence-chain.h>
#include <linux/dma-resv.h>
#include <linux/module.h>
#include <linux/pm_runtime.h>
#include <linux/workqueue.h>

#include "magni_trace.h"
