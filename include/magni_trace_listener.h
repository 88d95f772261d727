/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* Who is told when the trace event gpu_power_status is turned on and off. */
#ifndef MAGNI_TRACE_LISTENER_H
#define MAGNI_TRACE_LISTENER_H

#include <linux/list.h>
#include <linux/types.h>

struct magni_trace_listener {
	struct list_head link;
	/* Called with a lock held; may sleep, but not call the functions below. */
	void (*set)(struct magni_trace_listener *listener, bool on);
};

/* Tells `listener` from now on. At once, if the event is on. */
void magni_trace_listen(struct magni_trace_listener *listener);

/* Tells it no more, and waits until it is not being told. */
void magni_trace_forget(struct magni_trace_listener *listener);

/* What the event calls. */
int magni_trace_power_status_on(void);
void magni_trace_power_status_off(void);

#endif /* MAGNI_TRACE_LISTENER_H */
