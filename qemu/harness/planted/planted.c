// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * A module with a bug of each kind that the debug kernel has to find. Its parameter
 * says which one it commits when it is loaded. The harness loads it to see that such
 * a boot fails, and for the right reason; it is no part of the driver.
 */
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/string.h>

static char *bug = "none";
module_param(bug, charp, 0);
MODULE_PARM_DESC(bug, "which bug to commit: leak, lock-order, use-after-free or none");

static DEFINE_SPINLOCK(planted_lock_a);
static DEFINE_SPINLOCK(planted_lock_b);

/*
 * Allocations to which no pointer is left. Many: kmemleak takes a word that lies about, on
 * a stack for example, for a pointer, and one such word would hide a single leak.
 */
static noinline int planted_leak(void)
{
	int i;

	for (i = 0; i < 64; i++) {
		u8 *lost = kzalloc(333, GFP_KERNEL);

		if (!lost)
			return -ENOMEM;
		OPTIMIZER_HIDE_VAR(lost);
	}
	return 0;
}

/* Two locks, taken in both orders: never at once, so it does not hang. */
static noinline int planted_lock_order(void)
{
	spin_lock(&planted_lock_a);
	spin_lock(&planted_lock_b);
	spin_unlock(&planted_lock_b);
	spin_unlock(&planted_lock_a);

	spin_lock(&planted_lock_b);
	spin_lock(&planted_lock_a);
	spin_unlock(&planted_lock_a);
	spin_unlock(&planted_lock_b);
	return 0;
}

/* A read of memory that has been freed. */
static noinline int planted_use_after_free(void)
{
	u8 *gone = kzalloc(333, GFP_KERNEL);

	if (!gone)
		return -ENOMEM;
	kfree(gone);
	OPTIMIZER_HIDE_VAR(gone);
	return READ_ONCE(gone[7]) == 1 ? -EAGAIN : 0;
}

static int __init planted_init(void)
{
	if (!strcmp(bug, "leak"))
		return planted_leak();
	if (!strcmp(bug, "lock-order"))
		return planted_lock_order();
	if (!strcmp(bug, "use-after-free"))
		return planted_use_after_free();
	return strcmp(bug, "none") ? -EINVAL : 0;
}
module_init(planted_init);

static void __exit planted_exit(void)
{
}
module_exit(planted_exit);

MODULE_DESCRIPTION("Bugs for the debug kernel to find");
MODULE_LICENSE("Dual MIT/GPL");
