/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * The driver's trace events.
 *
 * gpu_power_status and gpu_job_irq are those of the C driver, with its fields and its format. The
 * system is called "magni" all the same: both modules may be loaded at a time, for different
 * devices, and tracefs keeps no two events of one name apart.
 *
 * Fields: group is a number that the device gave to no other group before it (it wraps); queue is
 * the index in the group; seqno counts the queue's jobs from 1; slot is the group slot, -1 for
 * none; masks of slots have a bit for each.
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM magni

#if !defined(MAGNI_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define MAGNI_TRACE_H

#include <linux/device.h>
#include <linux/tracepoint.h>
#include <linux/types.h>

#include "magni_trace_listener.h"

/* Power domains were turned on or off. The masks say which units are on, a bit each. */
TRACE_EVENT_FN(gpu_power_status,
	TP_PROTO(const struct device *dev, u64 shader_bitmap, u64 tiler_bitmap, u64 l2_bitmap),
	TP_ARGS(dev, shader_bitmap, tiler_bitmap, l2_bitmap),
	TP_STRUCT__entry(
		__string(dev_name, dev_name(dev))
		__field(u64, shader_bitmap)
		__field(u64, tiler_bitmap)
		__field(u64, l2_bitmap)
	),
	TP_fast_assign(
		__assign_str(dev_name);
		__entry->shader_bitmap = shader_bitmap;
		__entry->tiler_bitmap = tiler_bitmap;
		__entry->l2_bitmap = l2_bitmap;
	),
	TP_printk("%s: shader_bitmap=0x%llx tiler_bitmap=0x%llx l2_bitmap=0x%llx",
		  __get_str(dev_name), __entry->shader_bitmap, __entry->tiler_bitmap,
		  __entry->l2_bitmap),
	magni_trace_power_status_on, magni_trace_power_status_off
);

/* The firmware's interrupt was served: a bit for each group slot, bit 31 for the global interface. */
TRACE_EVENT(gpu_job_irq,
	TP_PROTO(const struct device *dev, u32 events, u32 duration_ns),
	TP_ARGS(dev, events, duration_ns),
	TP_STRUCT__entry(
		__string(dev_name, dev_name(dev))
		__field(u32, events)
		__field(u32, duration_ns)
	),
	TP_fast_assign(
		__assign_str(dev_name);
		__entry->events = events;
		__entry->duration_ns = duration_ns;
	),
	TP_printk("%s: events=0x%x duration_ns=%u",
		  __get_str(dev_name), __entry->events, __entry->duration_ns)
);

/* A job was submitted: it waits for its dependencies, then for its turn. No seqno yet. */
TRACE_EVENT(magni_job_queue,
	TP_PROTO(const struct device *dev, u32 group, u32 queue, u64 start, u32 size),
	TP_ARGS(dev, group, queue, start, size),
	TP_STRUCT__entry(
		__string(dev_name, dev_name(dev))
		__field(u32, group)
		__field(u32, queue)
		__field(u64, start)
		__field(u32, size)
	),
	TP_fast_assign(
		__assign_str(dev_name);
		__entry->group = group;
		__entry->queue = queue;
		__entry->start = start;
		__entry->size = size;
	),
	TP_printk("%s: group=%u queue=%u start=0x%llx size=%u",
		  __get_str(dev_name), __entry->group, __entry->queue, __entry->start,
		  __entry->size)
);

/* A job was put in its ring. */
TRACE_EVENT(magni_job_run,
	TP_PROTO(const struct device *dev, u32 group, u32 queue, u64 seqno, s32 slot),
	TP_ARGS(dev, group, queue, seqno, slot),
	TP_STRUCT__entry(
		__string(dev_name, dev_name(dev))
		__field(u32, group)
		__field(u32, queue)
		__field(u64, seqno)
		__field(s32, slot)
	),
	TP_fast_assign(
		__assign_str(dev_name);
		__entry->group = group;
		__entry->queue = queue;
		__entry->seqno = seqno;
		__entry->slot = slot;
	),
	TP_printk("%s: group=%u queue=%u seqno=%llu slot=%d",
		  __get_str(dev_name), __entry->group, __entry->queue, __entry->seqno,
		  __entry->slot)
);

/* A job has ended, with an errno or 0. */
TRACE_EVENT(magni_job_done,
	TP_PROTO(const struct device *dev, u32 group, u32 queue, u64 seqno, s32 error),
	TP_ARGS(dev, group, queue, seqno, error),
	TP_STRUCT__entry(
		__string(dev_name, dev_name(dev))
		__field(u32, group)
		__field(u32, queue)
		__field(u64, seqno)
		__field(s32, error)
	),
	TP_fast_assign(
		__assign_str(dev_name);
		__entry->group = group;
		__entry->queue = queue;
		__entry->seqno = seqno;
		__entry->error = error;
	),
	TP_printk("%s: group=%u queue=%u seqno=%llu error=%d",
		  __get_str(dev_name), __entry->group, __entry->queue, __entry->seqno,
		  __entry->error)
);

/* A job had all its time. */
TRACE_EVENT(magni_timeout,
	TP_PROTO(const struct device *dev, u32 group, u32 queue, u64 seqno),
	TP_ARGS(dev, group, queue, seqno),
	TP_STRUCT__entry(
		__string(dev_name, dev_name(dev))
		__field(u32, group)
		__field(u32, queue)
		__field(u64, seqno)
	),
	TP_fast_assign(
		__assign_str(dev_name);
		__entry->group = group;
		__entry->queue = queue;
		__entry->seqno = seqno;
	),
	TP_printk("%s: group=%u queue=%u seqno=%llu",
		  __get_str(dev_name), __entry->group, __entry->queue, __entry->seqno)
);

#define MAGNI_TRACE_TICK_CAUSES			\
	{ 0, "event" },				\
	{ 1, "period" },			\
	{ 2, "recheck" }

/*
 * The scheduler looked at everybody: because something has happened, because a period has passed,
 * or because it is time to look again at groups that wait for sync objects; how many groups waited
 * for a slot, which slots were in use, which got a group, which lost one.
 */
TRACE_EVENT(magni_tick,
	TP_PROTO(const struct device *dev, u32 cause, u32 waiting, u32 resident, u32 started,
		 u32 stopped),
	TP_ARGS(dev, cause, waiting, resident, started, stopped),
	TP_STRUCT__entry(
		__string(dev_name, dev_name(dev))
		__field(u32, cause)
		__field(u32, waiting)
		__field(u32, resident)
		__field(u32, started)
		__field(u32, stopped)
	),
	TP_fast_assign(
		__assign_str(dev_name);
		__entry->cause = cause;
		__entry->waiting = waiting;
		__entry->resident = resident;
		__entry->started = started;
		__entry->stopped = stopped;
	),
	TP_printk("%s: cause=%s waiting=%u resident=0x%x started=0x%x stopped=0x%x",
		  __get_str(dev_name), __print_symbolic(__entry->cause, MAGNI_TRACE_TICK_CAUSES),
		  __entry->waiting, __entry->resident, __entry->started, __entry->stopped)
);

/* The scheduler has chosen a group for the hardware; slot is the one it is in already, or -1. */
TRACE_EVENT(magni_tick_pick,
	TP_PROTO(const struct device *dev, u32 group, u32 priority, s32 slot),
	TP_ARGS(dev, group, priority, slot),
	TP_STRUCT__entry(
		__string(dev_name, dev_name(dev))
		__field(u32, group)
		__field(u32, priority)
		__field(s32, slot)
	),
	TP_fast_assign(
		__assign_str(dev_name);
		__entry->group = group;
		__entry->priority = priority;
		__entry->slot = slot;
	),
	TP_printk("%s: group=%u priority=%u slot=%d",
		  __get_str(dev_name), __entry->group, __entry->priority, __entry->slot)
);

/* The periodic tick starts, because groups share slots or the GPU, or stops. */
TRACE_EVENT(magni_tick_timer,
	TP_PROTO(const struct device *dev, bool on),
	TP_ARGS(dev, on),
	TP_STRUCT__entry(
		__string(dev_name, dev_name(dev))
		__field(bool, on)
	),
	TP_fast_assign(
		__assign_str(dev_name);
		__entry->on = on;
	),
	TP_printk("%s: on=%d", __get_str(dev_name), __entry->on)
);

#define MAGNI_TRACE_GROUP_STATES		\
	{ 0, "waiting" },			\
	{ 1, "resident" },			\
	{ 2, "suspended" },			\
	{ 3, "blocked" },			\
	{ 4, "ended" }

/* A group has changed its state. */
TRACE_EVENT(magni_group_state,
	TP_PROTO(const struct device *dev, u32 group, u32 state, s32 slot),
	TP_ARGS(dev, group, state, slot),
	TP_STRUCT__entry(
		__string(dev_name, dev_name(dev))
		__field(u32, group)
		__field(u32, state)
		__field(s32, slot)
	),
	TP_fast_assign(
		__assign_str(dev_name);
		__entry->group = group;
		__entry->state = state;
		__entry->slot = slot;
	),
	TP_printk("%s: group=%u state=%s slot=%d",
		  __get_str(dev_name), __entry->group,
		  __print_symbolic(__entry->state, MAGNI_TRACE_GROUP_STATES), __entry->slot)
);

#define MAGNI_TRACE_RESET_STAGES		\
	{ 0, "scheduled" },			\
	{ 1, "begun" },				\
	{ 2, "suspended" },			\
	{ 3, "stopped" },			\
	{ 4, "fast" },				\
	{ 5, "slow" },				\
	{ 6, "restarted" },			\
	{ 7, "done" },				\
	{ 8, "failed" }

/* A reset has come to a stage. */
TRACE_EVENT(magni_reset,
	TP_PROTO(const struct device *dev, u32 stage),
	TP_ARGS(dev, stage),
	TP_STRUCT__entry(
		__string(dev_name, dev_name(dev))
		__field(u32, stage)
	),
	TP_fast_assign(
		__assign_str(dev_name);
		__entry->stage = stage;
	),
	TP_printk("%s: stage=%s", __get_str(dev_name),
		  __print_symbolic(__entry->stage, MAGNI_TRACE_RESET_STAGES))
);

#endif /* MAGNI_TRACE_H */

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE magni_trace

#include <trace/define_trace.h>
