// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Attributes of devices in sysfs.
//!
//! C header: [`include/linux/device.h`](srctree/include/linux/device.h)

use crate::{
    bindings,
    device::{
        Bound,
        Device, //
    },
    error::{
        from_result,
        to_result, //
    },
    prelude::*,
    sync::{
        aref::ARef,
        LockClassKey, //
    },
    types::Opaque, //
};
use core::pin::Pin;

/// A number that user space reads and writes.
///
/// `'static`, since a file that is forgotten instead of dropped stays.
pub trait Number: Send + Sync + 'static {
    /// The file's name.
    const NAME: &'static CStr;

    /// The number that user space reads.
    fn show(&self) -> u32;

    /// User space has written `value`; an error refuses it.
    fn store(&self, value: u32) -> Result;
}

/// A file in a device's folder that holds a number, which root may change.
///
/// It is there while this lives; dropping waits for those who are in it. Reading gives the number
/// in decimal and a newline; what is written is in decimal, octal with a leading 0 or hexadecimal
/// with a leading 0x.
///
/// # Invariants
///
/// Once it is initialised, the file that `attr` describes is in the folder of `dev`.
#[pin_data(PinnedDrop)]
#[repr(C)]
pub struct NumberFile<T: Number> {
    // First, so that a pointer to it is one to the whole.
    #[pin]
    attr: Opaque<bindings::device_attribute>,
    dev: ARef<Device>,
    number: T,
}

// SAFETY: The file may be removed from any thread; numbers can be sent.
unsafe impl<T: Number> Send for NumberFile<T> {}
// SAFETY: Only C uses the attribute, with its own locks; numbers can be shared.
unsafe impl<T: Number> Sync for NumberFile<T> {}

impl<T: Number> NumberFile<T> {
    /// Makes the file in the folder of `dev`. `key` is for lockdep.
    ///
    /// # Errors
    ///
    /// `EEXIST` if there is one of this name; `ENOMEM`.
    pub fn new<'a>(
        dev: &'a Device<Bound>,
        number: T,
        key: Pin<&'static LockClassKey>,
    ) -> impl PinInit<Self, Error> + 'a {
        try_pin_init!(Self {
            dev: (&**dev).into(),
            number,
            // Last: from here on the file is used.
            attr <- Opaque::try_ffi_init(move |raw: *mut bindings::device_attribute| {
                // SAFETY: The memory is that of the attribute that is being made, which is pinned
                // and lives for as long as the file; all else of it was initialised before.
                unsafe {
                    raw.write(Self::attribute(key));
                    to_result(bindings::device_create_file(dev.as_raw(), raw))
                }
            }),
        })
    }

    #[cfg_attr(not(CONFIG_DEBUG_LOCK_ALLOC), expect(unused_variables))]
    fn attribute(key: Pin<&'static LockClassKey>) -> bindings::device_attribute {
        let mut attr: bindings::attribute = pin_init::zeroed();
        attr.name = T::NAME.as_char_ptr();
        attr.mode = 0o644;
        #[cfg(CONFIG_DEBUG_LOCK_ALLOC)]
        {
            attr.key = key.as_ptr();
        }
        bindings::device_attribute {
            attr,
            __bindgen_anon_1: bindings::device_attribute__bindgen_ty_1 {
                show: Some(Self::show),
            },
            __bindgen_anon_2: bindings::device_attribute__bindgen_ty_2 {
                store: Some(Self::store),
            },
        }
    }

    /// # Safety
    ///
    /// `attr` is that of a `Self` whose file exists; `buf` is a page that may be written.
    unsafe extern "C" fn show(
        _dev: *mut bindings::device,
        attr: *mut bindings::device_attribute,
        buf: *mut c_char,
    ) -> isize {
        // SAFETY: `Self` begins with its attribute, and waits for this when it is dropped.
        let this = unsafe { &*attr.cast::<Self>() };
        // SAFETY: `buf` is sysfs' buffer; the argument is what the format says.
        unsafe { bindings::sysfs_emit(buf, c"%u\n".as_char_ptr(), this.number.show()) as isize }
    }

    /// # Safety
    ///
    /// `attr` is that of a `Self` whose file exists; `buf` holds `count` bytes and a NUL.
    unsafe extern "C" fn store(
        _dev: *mut bindings::device,
        attr: *mut bindings::device_attribute,
        buf: *const c_char,
        count: usize,
    ) -> isize {
        // SAFETY: As in `show`.
        let this = unsafe { &*attr.cast::<Self>() };
        from_result(|| {
            let mut value = 0;
            // SAFETY: The buffer ends with a NUL.
            to_result(unsafe { bindings::kstrtouint(buf, 0, &mut value) })?;
            this.number.store(value)?;
            Ok(count as isize)
        })
    }
}

#[pinned_drop]
impl<T: Number> PinnedDrop for NumberFile<T> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: By the type invariant the file exists; the device is alive.
        unsafe { bindings::device_remove_file(self.dev.as_raw(), self.attr.get()) };
    }
}

#[kunit_tests(magni_sysfs)]
mod tests {
    use super::*;
    use crate::{
        page::PAGE_SIZE,
        static_lock_class,
        sync::atomic::{
            ordering::Relaxed,
            Atomic, //
        },
        test_device::TestDevice, //
    };

    struct Even(Atomic<u32>);

    impl Number for Even {
        const NAME: &'static CStr = c"even";

        fn show(&self) -> u32 {
            self.0.load(Relaxed)
        }

        fn store(&self, value: u32) -> Result {
            if value % 2 != 0 {
                return Err(EINVAL);
            }
            self.0.store(value, Relaxed);
            Ok(())
        }
    }

    fn file(dev: &TestDevice) -> Result<Pin<KBox<NumberFile<Even>>>> {
        KBox::pin_init(
            NumberFile::new(dev.bound(), Even(Atomic::new(0)), static_lock_class!()),
            GFP_KERNEL,
        )
    }

    /// Writes as a program does: what it writes, and a NUL that the kernel puts behind it.
    fn write(dev: &TestDevice, file: &NumberFile<Even>, text: &CStr) -> isize {
        let len = text.to_bytes().len();
        // SAFETY: The file exists, and the text ends with a NUL.
        unsafe { NumberFile::<Even>::store(dev.as_raw(), file.attr.get(), text.as_char_ptr(), len) }
    }

    #[test]
    fn a_number_is_read_as_it_was_written() -> Result {
        let dev = TestDevice::new(core::ptr::null_mut())?;
        let file = file(&dev)?;
        for (text, value) in [(c"42\n", 42u32), (c"0x10", 16), (c"010\n", 8)] {
            assert_eq!(write(&dev, &file, text), text.to_bytes().len() as isize);
            assert_eq!(file.number.show(), value);
        }
        // A page, as the kernel gives one: allocations of its size are aligned to it.
        let mut page = KVec::from_elem(0u8, PAGE_SIZE, GFP_KERNEL)?;
        // SAFETY: The file exists, and the page may be written.
        let len = unsafe {
            NumberFile::<Even>::show(
                dev.as_raw(),
                file.attr.get(),
                page.as_mut_ptr().cast::<c_char>(),
            )
        };
        assert_eq!(len, 2);
        assert_eq!(page[..3], *b"8\n\0");
        Ok(())
    }

    #[test]
    fn what_is_no_number_or_is_refused_changes_nothing() -> Result {
        let dev = TestDevice::new(core::ptr::null_mut())?;
        let file = file(&dev)?;
        assert_eq!(write(&dev, &file, c"6"), 1);
        let refused = [
            (c"", EINVAL),
            (c"six", EINVAL),
            (c"-6", EINVAL),
            (c"7", EINVAL),
            (c"4294967296", ERANGE),
        ];
        for (text, error) in refused {
            assert_eq!(write(&dev, &file, text), error.to_errno() as isize);
        }
        assert_eq!(file.number.show(), 6);
        Ok(())
    }
}
