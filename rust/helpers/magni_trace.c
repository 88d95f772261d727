// SPDX-License-Identifier: GPL-2.0 OR MIT
/* The trace events' C side, and those who are told when one is turned on. */
#include <linux/mutex.h>

#include "magni_trace_listener.h"

#define CREATE_TRACE_POINTS
#define CREATE_RUST_TRACE_POINTS
#include "magni_trace.h"

static DEFINE_MUTEX(magni_trace_lock);
static LIST_HEAD(magni_trace_listeners);
static bool magni_trace_on;

void magni_trace_listen(struct magni_trace_listener *listener)
{
	mutex_lock(&magni_trace_lock);
	list_add_tail(&listener->link, &magni_trace_listeners);
	if (magni_trace_on)
		listener->set(listener, true);
	mutex_unlock(&magni_trace_lock);
}

void magni_trace_forget(struct magni_trace_listener *listener)
{
	mutex_lock(&magni_trace_lock);
	list_del(&listener->link);
	mutex_unlock(&magni_trace_lock);
}

static void magni_trace_set(bool on)
{
	struct magni_trace_listener *listener;

	mutex_lock(&magni_trace_lock);
	magni_trace_on = on;
	list_for_each_entry(listener, &magni_trace_listeners, link)
		listener->set(listener, on);
	mutex_unlock(&magni_trace_lock);
}

int magni_trace_power_status_on(void)
{
	magni_trace_set(true);
	return 0;
}

void magni_trace_power_status_off(void)
{
	magni_trace_set(false);
}
