// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Typed ioctl calls.

use std::fmt;
use std::os::fd::AsRawFd;

use bytemuck::Pod;

/// Result of a system call.
pub type Result<T> = std::result::Result<T, Errno>;

/// An error number of the kernel, positive as in `errno.h`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Errno(pub i32);

impl Errno {
    /// Operation not permitted.
    pub const EPERM: Errno = Errno(libc::EPERM);
    /// No such object.
    pub const ENOENT: Errno = Errno(libc::ENOENT);
    /// Argument list too long; here: unknown fields are not zero.
    pub const E2BIG: Errno = Errno(libc::E2BIG);
    /// No such file descriptor.
    pub const EBADF: Errno = Errno(libc::EBADF);
    /// Out of memory.
    pub const ENOMEM: Errno = Errno(libc::ENOMEM);
    /// Permission denied.
    pub const EACCES: Errno = Errno(libc::EACCES);
    /// Bad address.
    pub const EFAULT: Errno = Errno(libc::EFAULT);
    /// No space left; here: what a file system in memory says without memory.
    pub const ENOSPC: Errno = Errno(libc::ENOSPC);
    /// Object busy; here: no identifier is free.
    pub const EBUSY: Errno = Errno(libc::EBUSY);
    /// No such device.
    pub const ENODEV: Errno = Errno(libc::ENODEV);
    /// Invalid argument.
    pub const EINVAL: Errno = Errno(libc::EINVAL);
    /// Inappropriate ioctl.
    pub const ENOTTY: Errno = Errno(libc::ENOTTY);
    /// Timer expired.
    pub const ETIME: Errno = Errno(libc::ETIME);
    /// Timed out.
    pub const ETIMEDOUT: Errno = Errno(libc::ETIMEDOUT);
    /// Cancelled.
    pub const ECANCELED: Errno = Errno(libc::ECANCELED);

    /// The calling thread's last error.
    pub fn last() -> Self {
        Errno(std::io::Error::last_os_error().raw_os_error().unwrap_or(0))
    }

    /// The symbol of the error in `errno.h`, for those that this uAPI uses.
    pub fn name(self) -> Option<&'static str> {
        Some(match self {
            Self::EPERM => "EPERM",
            Self::ENOENT => "ENOENT",
            Self::E2BIG => "E2BIG",
            Self::EBADF => "EBADF",
            Self::ENOMEM => "ENOMEM",
            Self::EACCES => "EACCES",
            Self::EFAULT => "EFAULT",
            Self::ENOSPC => "ENOSPC",
            Self::EBUSY => "EBUSY",
            Self::ENODEV => "ENODEV",
            Self::EINVAL => "EINVAL",
            Self::ENOTTY => "ENOTTY",
            Self::ETIME => "ETIME",
            Self::ETIMEDOUT => "ETIMEDOUT",
            Self::ECANCELED => "ECANCELED",
            _ => return None,
        })
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "{}", std::io::Error::from_raw_os_error(self.0)),
        }
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Errno {}

/// Direction bits of an ioctl number (`asm-generic/ioctl.h`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dir {
    /// Userspace writes, the kernel reads.
    Write = 1,
    /// Both directions.
    ReadWrite = 3,
}

/// Builds an ioctl number as `_IOC()` does.
pub const fn request(dir: Dir, kind: u8, nr: u8, size: usize) -> u64 {
    assert!(
        size < 1 << 14,
        "an ioctl argument has at most 14 bits of size"
    );
    ((dir as u64) << 30) | ((size as u64) << 16) | ((kind as u64) << 8) | nr as u64
}

/// The argument of one ioctl.
pub trait Ioctl: Pod {
    /// The full ioctl number.
    const REQUEST: u64;
}

/// An argument through whose pointers the kernel at most reads.
///
/// # Safety
///
/// For this ioctl the kernel must write to no memory of the process but the argument itself, whatever the
/// argument's content. (Reading through a bad pointer is harmless: the kernel answers `EFAULT`.)
pub unsafe trait ReadOnlyIoctl: Ioctl {}

/// Issues an ioctl whose argument may be anything; retries when a signal interrupts it.
///
/// # Safety
///
/// Every pointer in `arg` through which the kernel writes must be valid for as many bytes as the kernel writes.
pub unsafe fn call_unchecked<T: Pod>(fd: &impl AsRawFd, request: u64, arg: &mut T) -> Result<()> {
    loop {
        // SAFETY: `arg` is valid for reads and writes of the size encoded in `request`, or the caller vouches for it.
        let ret = unsafe { libc::ioctl(fd.as_raw_fd(), request as _, arg as *mut T) };
        if ret >= 0 {
            return Ok(());
        }
        match Errno::last() {
            Errno(libc::EINTR) | Errno(libc::EAGAIN) => continue,
            e => return Err(e),
        }
    }
}

/// Issues an ioctl.
pub fn call<T: ReadOnlyIoctl>(fd: &impl AsRawFd, arg: &mut T) -> Result<()> {
    // SAFETY: by the contract of `ReadOnlyIoctl` the kernel writes to `arg` alone.
    unsafe { call_unchecked(fd, T::REQUEST, arg) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_number_is_as_in_the_header() {
        // DRM_IOCTL_VERSION and DRM_IOCTL_GEM_CLOSE as strace prints them on a 64-bit machine.
        assert_eq!(request(Dir::ReadWrite, b'd', 0, 64), 0xc040_6400);
        assert_eq!(request(Dir::Write, b'd', 9, 8), 0x4008_6409);
    }

    #[test]
    fn errno_prints_its_name() {
        assert_eq!(Errno(22).to_string(), "EINVAL");
        assert_eq!(format!("{:?}", Errno(62)), "ETIME");
    }
}
