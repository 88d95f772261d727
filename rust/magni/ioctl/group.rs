// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Groups, and what is submitted to them.

use super::{
    few::Few,
    query::may_raise_priority,
    sync::{
        Dependency,
        JobSyncs,
        Syncs, //
    },
    uobj::{
        get_array,
        get_few, //
    },
};
use crate::{
    device::BoundDevice,
    driver::{
        DrmDevice,
        DrmFile, //
    },
    sched::{
        group::{
            Cores,
            Group,
            Priority,
            QueueSettings,
            Settings,
            MAX_QUEUES, //
        },
        job::{
            self,
            Jobs, //
        },
        queue::CallArgs,
        Scheduler, //
    },
};
use core::num::NonZero;
use kernel::{
    dma_fence::Fence,
    drm::{
        client::client_id,
        exec::{
            Exec,
            Usage, //
        },
        sched::{
            PendingJob,
            Reserved, //
        },
        Registered, //
    },
    prelude::*,
    sync::{
        aref::ARef,
        Arc, //
    },
    uapi, //
};

/// Streams begin on a cache line.
const STREAM_ALIGN: u64 = 64;
/// Streams hold whole instructions.
const INSTR_BYTES: u32 = 8;
/// So many buffers, with the VM, are locked without more memory for that: those that only one VM
/// may map are locked with it.
const FEW_BUFFERS: u32 = 8;
/// Bits 24 to 30 of a flush id.
const FLUSH_ID_RESERVED: u32 = 0x7f00_0000;

/// Whether `file` may have groups of `priority`.
///
/// # Errors
///
/// `EACCES` if not.
fn check_priority(file: &DrmFile, priority: Priority) -> Result {
    if priority <= Priority::Medium || may_raise_priority(file) {
        Ok(())
    } else {
        Err(EACCES)
    }
}

/// Checks the cores that user space asks for against those that there are.
///
/// # Errors
///
/// `EINVAL` if there are no such cores, or fewer than wanted at a time.
fn cores(mask: u64, max: u8, present: u64) -> Result<Cores> {
    if mask & !present != 0 || mask.count_ones() < max.into() {
        return Err(EINVAL);
    }
    Ok(Cores { mask, max })
}

/// `GROUP_CREATE`.
pub(crate) fn create(
    drm: &DrmDevice<Registered>,
    sched: &Arc<Scheduler>,
    args: &mut uapi::drm_panthor_group_create,
    file: &DrmFile,
) -> Result<u32> {
    if args.queues.count == 0 || args.queues.count as usize > MAX_QUEUES {
        return Err(EINVAL);
    }
    let raw = get_array::<uapi::drm_panthor_queue_create>(&args.queues)?;

    let priority = Priority::try_from(args.priority)?;
    check_priority(file, priority)?;
    if args.pad != 0 || args.queues.count > sched.max_queues() {
        return Err(EINVAL);
    }

    let info = &sched.device().info.0;
    let settings = Settings {
        priority,
        compute: cores(
            args.compute_core_mask,
            args.max_compute_cores,
            info.shader_present,
        )?,
        fragment: cores(
            args.fragment_core_mask,
            args.max_fragment_cores,
            info.shader_present,
        )?,
        tiler: cores(
            args.tiler_core_mask,
            args.max_tiler_cores,
            info.tiler_present,
        )?,
    };
    let mut queues = KVec::with_capacity(raw.len(), GFP_KERNEL)?;
    for queue in &raw {
        if queue.pad != [0; 3] {
            return Err(EINVAL);
        }
        queues.push(
            QueueSettings {
                priority: queue.priority,
                ring_size: queue.ringbuf_size,
            },
            GFP_KERNEL,
        )?;
    }

    let vm = file.inner().vms().get(args.vm_id)?;
    let usage = file.inner().usage().clone();
    let group = Group::new(BoundDevice::from(drm), sched, &vm, settings, &queues, usage)?;
    args.group_handle = file.inner().groups().add(&group)?;

    Ok(0)
}

/// `GROUP_DESTROY`.
pub(crate) fn destroy(
    _drm: &DrmDevice<Registered>,
    _sched: &Arc<Scheduler>,
    args: &mut uapi::drm_panthor_group_destroy,
    file: &DrmFile,
) -> Result<u32> {
    if args.pad != 0 {
        return Err(EINVAL);
    }
    file.inner().groups().destroy(args.group_handle)?;

    Ok(0)
}

/// `GROUP_GET_STATE`.
pub(crate) fn get_state(
    _drm: &DrmDevice<Registered>,
    _sched: &Arc<Scheduler>,
    args: &mut uapi::drm_panthor_group_get_state,
    file: &DrmFile,
) -> Result<u32> {
    if args.pad != 0 {
        return Err(EINVAL);
    }
    let group = file.inner().groups().get(args.group_handle)?;

    // The C driver clears the handle, too.
    args.group_handle = 0;
    (args.state, args.fatal_queues) = group.state();

    Ok(0)
}

/// What a job calls, if it calls anything.
///
/// # Errors
///
/// `EINVAL` for what cannot be called.
fn call_args(submit: &uapi::drm_panthor_queue_submit) -> Result<Option<CallArgs>> {
    if submit.pad != 0
        || (submit.stream_size == 0) != (submit.stream_addr == 0)
        || submit.stream_addr % STREAM_ALIGN != 0
        || submit.stream_size % INSTR_BYTES != 0
        || submit.latest_flush & FLUSH_ID_RESERVED != 0
    {
        return Err(EINVAL);
    }
    Ok(NonZero::new(submit.stream_size).map(|size| CallArgs {
        start: submit.stream_addr,
        size,
        latest_flush: submit.latest_flush,
    }))
}

/// A job that is waited for by a later one of the same submission.
struct InnerDependency {
    waits: usize,
    place: Reserved,
    waited_for: usize,
}

/// Submits the jobs, in order, each to its queue, and adds the fences of their ends to `fences`,
/// which has room for them. Nothing fails any more.
///
/// `inner` is in the order of the jobs that wait.
fn push(
    jobs: Few<PendingJob<Jobs>>,
    inner: KVVec<InnerDependency>,
    fences: &mut Few<ARef<Fence>>,
    mut publish: impl FnMut(&Fence),
) {
    let mut inner = inner.into_iter().peekable();
    for (number, mut job) in jobs.into_items().enumerate() {
        while let Some(dependency) = inner.next_if(|dependency| dependency.waits == number) {
            if let Some(other) = fences.get(dependency.waited_for) {
                job.fill_dependency(dependency.place, other.clone());
            }
        }
        job.data().trace_queued();
        let finished = job.submit(&mut publish);
        // There is room, so that this does not fail.
        let _ = fences.push_within_capacity(finished);
    }
}

/// `GROUP_SUBMIT`.
pub(crate) fn submit(
    _drm: &DrmDevice<Registered>,
    _sched: &Arc<Scheduler>,
    args: &mut uapi::drm_panthor_group_submit,
    file: &DrmFile,
) -> Result<u32> {
    if args.pad != 0 {
        return Err(EINVAL);
    }
    let submits = get_few::<uapi::drm_panthor_queue_submit>(&args.queue_submits)?;
    if submits.len() == 0 {
        return Ok(0);
    }
    let client = client_id(file);

    let mut group = None;
    let mut jobs = Few::with_capacity(submits.len())?;
    let mut job_syncs = Few::with_capacity(submits.len())?;
    for submit in submits.iter() {
        let call = call_args(submit)?;
        let group = match &group {
            Some(group) => group,
            // Like the C driver, this looks at 16 bits of the handle.
            None => group.insert(
                file.inner()
                    .groups()
                    .get((args.group_handle as u16).into())?,
            ),
        };
        let job = job::create(group, submit.queue_index, call, client)?;
        jobs.push(job, GFP_KERNEL)?;
        job_syncs.push(JobSyncs::read(&submit.syncs)?, GFP_KERNEL)?;
    }
    let group: Arc<Group> = group.ok_or(EINVAL)?;

    let mut syncs = Syncs::new(file, &job_syncs)?;
    let mut inner = KVVec::<InnerDependency>::new();
    for (number, (job, ops)) in jobs.iter_mut().zip(job_syncs.iter()).enumerate() {
        syncs.dependencies(number, ops, |dependency| {
            match dependency {
                Dependency::Fence(fence) => job.add_dependency(fence)?,
                Dependency::Job(other) => inner.push(
                    InnerDependency {
                        place: job.reserve_dependency()?,
                        waits: number,
                        waited_for: other,
                    },
                    GFP_KERNEL,
                )?,
            }
            Ok(())
        })?;
    }

    // A job may use every buffer that is mapped in the VM. Their fences are for memory
    // management; user space synchronises by itself.
    let count = u32::try_from(jobs.len())?;
    let vm = group.vm();
    pin_init::stack_pin_init!(let exec = Exec::new(FEW_BUFFERS));
    let mut fences = Few::with_capacity(jobs.len())?;
    {
        let mut locked = exec
            .as_mut()
            .lock(|locker| locker.prepare_vm(vm.gpuvm(), count))?;
        push(jobs, inner, &mut fences, |fence| {
            locked.add_vm_fence(vm.gpuvm(), fence, Usage::Bookkeep, Usage::Bookkeep);
        });
    }
    syncs.publish(&fences);

    Ok(0)
}

#[kunit_tests(magni_ioctl_group)]
mod tests {
    use super::*;

    fn check(stream_addr: u64, stream_size: u32, latest_flush: u32, pad: u32) -> Result<bool> {
        let submit = uapi::drm_panthor_queue_submit {
            queue_index: 0,
            stream_size,
            stream_addr,
            latest_flush,
            pad,
            syncs: uapi::drm_panthor_obj_array {
                stride: 0,
                count: 0,
                array: 0,
            },
        };
        Ok(call_args(&submit)?.is_some())
    }

    #[test]
    fn streams() {
        assert_eq!(check(0x1000, 64, 1, 0), Ok(true));
        assert_eq!(check(0, 0, 0, 0), Ok(false));
        assert_eq!(check(0x1000, 64, 1 << 31, 0), Ok(true));
    }

    #[test]
    fn bad_streams() {
        assert_eq!(check(0x1000, 0, 0, 0), Err(EINVAL));
        assert_eq!(check(0, 64, 0, 0), Err(EINVAL));
        assert_eq!(check(0x1020, 64, 0, 0), Err(EINVAL));
        assert_eq!(check(0x1000, 60, 0, 0), Err(EINVAL));
        assert_eq!(check(0x1000, 64, 1 << 24, 0), Err(EINVAL));
        assert_eq!(check(0x1000, 64, 1 << 30, 0), Err(EINVAL));
        assert_eq!(check(0x1000, 64, 0, 1), Err(EINVAL));
    }

    #[test]
    fn core_masks() {
        assert!(cores(0x5, 2, 0x50005).is_ok());
        assert!(cores(0x5, 3, 0x50005).is_err());
        assert!(cores(0x2, 1, 0x50005).is_err());
        assert!(cores(0, 0, 0x50005).is_ok());
    }
}
