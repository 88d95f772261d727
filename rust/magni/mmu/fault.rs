// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Names of what can go wrong, for the log.

/// The name of exception type `code`, as the fault registers hold it.
pub(crate) fn exception_name(code: u32) -> &'static str {
    match code {
        0x00 => "OK",
        0x04 => "TERMINATED",
        0x05 => "KABOOM",
        0x06 => "EUREKA",
        0x08 => "ACTIVE",
        0x0f => "CS_RES_TERM",
        0x40 => "CS_CONFIG_FAULT",
        0x41 => "CS_UNRECOVERABLE",
        0x44 => "CS_ENDPOINT_FAULT",
        0x48 => "CS_BUS_FAULT",
        0x49 => "CS_INSTR_INVALID",
        0x4a => "CS_CALL_STACK_OVERFLOW",
        0x4b => "CS_INHERIT_FAULT",
        0x50 => "INSTR_INVALID_PC",
        0x51 => "INSTR_INVALID_ENC",
        0x55 => "INSTR_BARRIER_FAULT",
        0x58 => "DATA_INVALID_FAULT",
        0x59 => "TILE_RANGE_FAULT",
        0x5a => "ADDR_RANGE_FAULT",
        0x5b => "IMPRECISE_FAULT",
        0x60 => "OOM",
        0x68 => "CSF_FW_INTERNAL_ERROR",
        0x69 => "CSF_RES_EVICTION_TIMEOUT",
        0x80 => "GPU_BUS_FAULT",
        0x88 => "GPU_SHAREABILITY_FAULT",
        0x89 => "SYS_SHAREABILITY_FAULT",
        0x8a => "GPU_CACHEABILITY_FAULT",
        0xc0..=0xc4 => "TRANSLATION_FAULT",
        0xc8..=0xcb => "PERM_FAULT",
        0xd9..=0xdb => "ACCESS_FLAG",
        0xe0 => "ADDR_SIZE_FAULT_IN",
        0xe4..=0xe7 => "ADDR_SIZE_FAULT_OUT",
        0xe8..=0xeb => "MEM_ATTR_FAULT",
        _ => "unknown exception",
    }
}

/// The name of the access type in a fault status.
pub(crate) fn access_name(code: u32) -> &'static str {
    match code {
        0 => "atomic",
        1 => "execute",
        2 => "read",
        _ => "write",
    }
}
