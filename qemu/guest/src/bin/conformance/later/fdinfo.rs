// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What a file tells about itself in `/proc`.

use std::fs;
use std::os::fd::AsRawFd;

use anyhow::{ensure, Result};

use crate::cx::{Gpu, Tests};

pub(crate) fn tests(t: &mut Tests) {
    t.add("later::fdinfo", fdinfo);
}

fn fdinfo() -> Result<()> {
    let gpu = Gpu::new(1)?;
    let path = format!("/proc/self/fdinfo/{}", gpu.cx.device.as_raw_fd());
    let text = fs::read_to_string(path)?;
    for key in [
        "drm-driver:\tpanthor",
        "drm-client-id:",
        "drm-maxfreq-panthor:",
        "drm-curfreq-panthor:",
        "panthor-resident-memory:",
        "panthor-active-memory:",
        "drm-total-memory:",
    ] {
        ensure!(text.contains(key), "fdinfo lacks {key:?}:\n{text}");
    }
    Ok(())
}
