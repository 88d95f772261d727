// SPDX-License-Identifier: GPL-2.0 OR MIT

//! A QEMU plugin that counts the guest's instructions between marks.
//!
//! A mark is an unallocated hint instruction in the guest's user space: 120 begins a stretch, 121
//! ends a lap of it, 122 ends the stretch. The first write to a group's doorbell divides a lap in
//! two. What was counted is written to a file:
//!
//! ```text
//! stretch 0
//! lap BEFORE_DOORBELL AFTER_DOORBELL
//! ...
//! pc ADDRESS BEFORE_DOORBELL AFTER_DOORBELL
//! ...
//! ```
//!
//! For one processor.

mod api;
mod counts;

use std::ffi::{c_char, c_int, c_uint, c_void, CStr, CString};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::ptr::null_mut;
use std::sync::{Mutex, MutexGuard, PoisonError};

use counts::Counts;

/// Marks: the hint instruction with its number.
const BEGIN: u32 = hint(120);
const LAP: u32 = hint(121);
const END: u32 = hint(122);

const fn hint(number: u32) -> u32 {
    0xd503_201f | (number << 5)
}

/// A store of a 32-bit register without offset, as the kernel's `writel()` compiles to.
fn is_plain_store(code: u32) -> bool {
    code & 0xffff_fc00 == 0xb900_0000
}

/// Physical addresses of the doorbells of group slots, see the harness's device tree.
const DOORBELLS: std::ops::Range<u64> = 0x1009_0000..0x1020_0000;

/// Instructions that are told apart; further ones share the last counter.
const PLACES: usize = 1 << 21;

/// What QEMU reads: the version of the interface that the plugin was written for.
#[unsafe(no_mangle)]
pub static qemu_plugin_version: c_int = api::VERSION;

struct Plugin {
    score: *mut api::Scoreboard,
    counts: Counts,
    out: BufWriter<File>,
}

// SAFETY: QEMU's functions may be called from each of its threads.
unsafe impl Send for Plugin {}

static PLUGIN: Mutex<Option<Plugin>> = Mutex::new(None);

fn plugin() -> MutexGuard<'static, Option<Plugin>> {
    PLUGIN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Says something on QEMU's log.
fn say(text: &str) {
    if let Ok(text) = CString::new(format!("insn-counter: {text}\n")) {
        // SAFETY: A string that ends with a zero.
        unsafe { api::qemu_plugin_outs(text.as_ptr()) };
    }
}

/// QEMU loads the plugin. `out=FILE` is where counts go.
///
/// # Safety
///
/// `args` points to `count` strings.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qemu_plugin_install(
    id: u64,
    _info: *const c_void,
    count: c_int,
    args: *const *const c_char,
) -> c_int {
    let args = (0..count.max(0) as usize).map(|at| {
        // SAFETY: By the requirements of this function.
        unsafe { CStr::from_ptr(*args.add(at)) }.to_string_lossy()
    });
    let mut out = None;
    for arg in args {
        match arg.strip_prefix("out=") {
            Some(path) => out = Some(path.to_owned()),
            None => eprintln!("insn-counter: unknown argument {arg}"),
        }
    }
    let Some(path) = out else {
        eprintln!("insn-counter: out=FILE is missing");
        return -1;
    };
    let file = match File::create(&path) {
        Ok(file) => file,
        Err(error) => {
            eprintln!("insn-counter: {path}: {error}");
            return -1;
        }
    };
    *plugin() = Some(Plugin {
        // SAFETY: Any size will do.
        score: unsafe { api::qemu_plugin_scoreboard_new(PLACES * size_of::<u64>()) },
        counts: Counts::new(PLACES),
        out: BufWriter::new(file),
    });
    // SAFETY: The callback lives as long as the program.
    unsafe { api::qemu_plugin_register_vcpu_tb_trans_cb(id, translated, null_mut()) };
    0
}

/// A block was translated: has each of its instructions counted, and marks reported.
extern "C" fn translated(block: *mut api::Block, _data: *mut c_void) {
    let mut guard = plugin();
    let Some(plugin) = guard.as_mut() else { return };
    // SAFETY: QEMU passes a block; the indices are below its count. Each instruction is valid
    // during this call, and the entries are inside the scoreboard.
    unsafe {
        for at in 0..api::qemu_plugin_tb_n_insns(block) {
            let insn = api::qemu_plugin_tb_get_insn(block, at);
            let mut code = 0u32;
            let len = size_of::<u32>();
            api::qemu_plugin_insn_data(insn, (&raw mut code).cast(), len);
            let place = plugin.counts.place(api::qemu_plugin_insn_vaddr(insn));
            let entry = api::Entry {
                score: plugin.score,
                offset: place * size_of::<u64>(),
            };
            api::qemu_plugin_register_vcpu_insn_exec_inline_per_vcpu(
                insn,
                api::INLINE_ADD_U64,
                entry,
                1,
            );
            if matches!(code, BEGIN | LAP | END) {
                let data = code as usize as *mut c_void;
                api::qemu_plugin_register_vcpu_insn_exec_cb(insn, marked, api::CB_NO_REGS, data);
            }
            if is_plain_store(code) {
                api::qemu_plugin_register_vcpu_mem_cb(
                    insn,
                    stored,
                    api::CB_NO_REGS,
                    api::MEM_W,
                    null_mut(),
                );
            }
        }
    }
}

impl Plugin {
    /// The counters of a processor, as far as they are in use.
    fn now(&self, vcpu: c_uint) -> Vec<u64> {
        // SAFETY: The scoreboard has a part of `PLACES` numbers for each processor, which nothing
        // writes to while this one, the only one, is in a callback.
        unsafe {
            let part = api::qemu_plugin_scoreboard_find(self.score, vcpu).cast::<u64>();
            std::slice::from_raw_parts(part, self.counts.used()).to_vec()
        }
    }
}

/// A mark was executed.
extern "C" fn marked(vcpu: c_uint, data: *mut c_void) {
    let mut guard = plugin();
    let Some(plugin) = guard.as_mut() else { return };
    let now = plugin.now(vcpu);
    let text = match data as usize as u32 {
        BEGIN => plugin.counts.begin(now),
        LAP => plugin.counts.lap(now),
        _ => plugin.counts.end(),
    };
    let written = plugin.out.write_all(text.as_bytes());
    if let Err(error) = written.and_then(|()| plugin.out.flush()) {
        say(&format!("counts cannot be written: {error}"));
    }
}

/// A store that may be one to a doorbell.
extern "C" fn stored(vcpu: c_uint, info: u32, va: u64, _data: *mut c_void) {
    let mut guard = plugin();
    let Some(plugin) = guard.as_mut() else { return };
    if !plugin.counts.wants_doorbell() {
        return;
    }
    // SAFETY: `info` and `va` are those of the access that this callback is about.
    let address = unsafe { api::qemu_plugin_get_hwaddr(info, va) };
    if address.is_null() {
        return;
    }
    // SAFETY: Not null, and valid during this call.
    let address = unsafe { api::qemu_plugin_hwaddr_phys_addr(address) };
    if DOORBELLS.contains(&address) {
        let now = plugin.now(vcpu);
        plugin.counts.doorbell(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_the_assembler() {
        // hint #120, and str w1, [x0].
        assert_eq!(BEGIN, 0xd503_2f1f);
        assert!(is_plain_store(0xb900_0001));
        // str w1, [x0, #4]; str x1, [x0].
        assert!(!is_plain_store(0xb900_0401));
        assert!(!is_plain_store(0xf900_0001));
    }
}
