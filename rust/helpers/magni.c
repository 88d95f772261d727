// SPDX-License-Identifier: GPL-2.0 OR MIT
/* Helpers beyond the kernel's own: one function each, named rust_helper_<function>. */

#include <drm/drm_exec.h>
#include <drm/drm_syncobj.h>
#ifdef CONFIG_ARM_ARCH_TIMER
#include <asm/arch_timer.h>
#endif
#include <linux/compat.h>
#include <linux/dma-fence.h>
#include <linux/dma-fence-chain.h>
#include <linux/dma-mapping.h>
#include <linux/dma-resv.h>
#include <linux/lockdep.h>
#include <linux/mm.h>
#include <linux/pm_runtime.h>
#include <linux/sched.h>
#include <linux/sched/clock.h>
#include <linux/sched/signal.h>
#include <linux/time_namespace.h>
#include <linux/workqueue.h>

__rust_helper struct dma_fence *rust_helper_dma_fence_get(struct dma_fence *fence)
{
	return dma_fence_get(fence);
}

__rust_helper void rust_helper_dma_fence_put(struct dma_fence *fence)
{
	dma_fence_put(fence);
}

__rust_helper bool rust_helper_dma_fence_is_signaled(struct dma_fence *fence)
{
	return dma_fence_is_signaled(fence);
}

__rust_helper bool rust_helper_dma_fence_begin_signalling(void)
{
	return dma_fence_begin_signalling();
}

__rust_helper void rust_helper_dma_fence_end_signalling(bool cookie)
{
	dma_fence_end_signalling(cookie);
}

__rust_helper bool rust_helper_drm_exec_is_contended(struct drm_exec *exec)
{
	return drm_exec_is_contended(exec);
}

__rust_helper void rust_helper_drm_syncobj_get(struct drm_syncobj *obj)
{
	drm_syncobj_get(obj);
}

__rust_helper void rust_helper_drm_syncobj_put(struct drm_syncobj *obj)
{
	drm_syncobj_put(obj);
}

__rust_helper struct dma_fence *rust_helper_drm_syncobj_fence_get(struct drm_syncobj *obj)
{
	return drm_syncobj_fence_get(obj);
}

/* The function that C has for this shares its name with a structure. */
__rust_helper struct drm_syncobj *rust_helper_drm_syncobj_new(void)
{
	struct drm_syncobj *obj;

	return drm_syncobj_create(&obj, 0, NULL) ? NULL : obj;
}

__rust_helper u64 rust_helper_current_task_size(void)
{
	return TASK_SIZE_OF(current);
}

__rust_helper bool rust_helper_in_compat_syscall(void)
{
	return in_compat_syscall();
}

__rust_helper pgprot_t rust_helper_pgprot_noncached(pgprot_t prot)
{
	return pgprot_noncached(prot);
}

__rust_helper u32 rust_helper_arch_timer_rate(void)
{
#ifdef CONFIG_ARM_ARCH_TIMER
	return arch_timer_get_cntfrq();
#else
	return 0;
#endif
}

__rust_helper void rust_helper_timens_add_monotonic(struct timespec64 *time)
{
	timens_add_monotonic(time);
}

__rust_helper u64 rust_helper_local_clock(void)
{
	return local_clock();
}

__rust_helper void rust_helper_dma_sync_single_for_device(struct device *dev, dma_addr_t addr,
							   size_t size,
							   enum dma_data_direction dir)
{
	dma_sync_single_for_device(dev, addr, size, dir);
}

__rust_helper void rust_helper_dma_sync_single_for_cpu(struct device *dev, dma_addr_t addr,
							size_t size,
							enum dma_data_direction dir)
{
	dma_sync_single_for_cpu(dev, addr, size, dir);
}

__rust_helper bool rust_helper_dma_fence_is_chain(struct dma_fence *fence)
{
	return dma_fence_is_chain(fence);
}

__rust_helper void rust_helper_work_might_wait(struct work_struct *work)
{
#ifdef CONFIG_LOCKDEP
	lock_map_acquire(&work->lockdep_map);
	lock_map_release(&work->lockdep_map);
#endif
}

/* The class of a wait queue's map: that of its lock is the one without a number. */
#define MAGNI_WAIT_MAP 1

__rust_helper void rust_helper_wait_map_init(struct lockdep_map *map, const char *name,
					     struct lock_class_key *key)
{
	lockdep_init_map(map, name, key, MAGNI_WAIT_MAP);
}

__rust_helper void rust_helper_wait_map_acquire(struct lockdep_map *map)
{
	lock_acquire(map, MAGNI_WAIT_MAP, 0, 0, 1, NULL, _RET_IP_);
}

__rust_helper void rust_helper_wait_map_release(struct lockdep_map *map)
{
	lock_release(map, _RET_IP_);
}

__rust_helper bool rust_helper_fatal_signal_pending(struct task_struct *task)
{
	return fatal_signal_pending(task);
}

__rust_helper bool rust_helper_pm_runtime_enabled(struct device *dev)
{
	return pm_runtime_enabled(dev);
}

/* Whether somebody uses a device besides system sleep, and user space that wants it always on. */
__rust_helper bool rust_helper_pm_runtime_is_used(struct device *dev)
{
#ifdef CONFIG_PM
	return atomic_read(&dev->power.usage_count) > (dev->power.runtime_auto ? 1 : 2);
#else
	return false;
#endif
}

__rust_helper int rust_helper_pm_runtime_set_active(struct device *dev)
{
	return pm_runtime_set_active(dev);
}

__rust_helper void rust_helper_pm_runtime_use_autosuspend(struct device *dev)
{
	pm_runtime_use_autosuspend(dev);
}

__rust_helper void rust_helper_pm_runtime_dont_use_autosuspend(struct device *dev)
{
	pm_runtime_dont_use_autosuspend(dev);
}

__rust_helper void rust_helper_pm_runtime_disable(struct device *dev)
{
	pm_runtime_disable(dev);
}

__rust_helper void rust_helper_pm_runtime_mark_last_busy(struct device *dev)
{
	pm_runtime_mark_last_busy(dev);
}

__rust_helper void rust_helper_pm_runtime_get_noresume(struct device *dev)
{
	pm_runtime_get_noresume(dev);
}

__rust_helper int rust_helper_pm_runtime_resume_and_get(struct device *dev)
{
	return pm_runtime_resume_and_get(dev);
}

__rust_helper int rust_helper_pm_runtime_put_autosuspend(struct device *dev)
{
	return pm_runtime_put_autosuspend(dev);
}

__rust_helper phys_addr_t rust_helper_page_to_phys(struct page *page)
{
	return page_to_phys(page);
}
