// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The kernel's bindings, and those that it lacks.
//!
//! Everything of the installed kernel's `bindings` crate is passed on, so that a type has one
//! identity; only what is not there (the DRM scheduler, sync objects, fence chains, …) is
//! generated here. `rust/bindings/allowlist` names it.

#![allow(
    clippy::all,
    missing_docs,
    non_camel_case_types,
    non_upper_case_globals,
    non_snake_case,
    improper_ctypes,
    unreachable_pub,
    unsafe_op_in_unsafe_fn
)]

#[allow(
    dead_code,
    clippy::as_underscore,
    clippy::cast_lossless,
    clippy::ptr_as_ptr,
    clippy::ref_as_ptr,
    clippy::undocumented_unsafe_blocks,
    unknown_lints,
    unnecessary_transmutes
)]
mod generated {
    use ::bindings::*;
    use pin_init::MaybeZeroable;

    include!(concat!(
        env!("MAGNI_BINDINGS"),
        "/drm_bindings_generated.rs"
    ));
}

/// Inline C functions, through `rust/helpers`.
#[allow(dead_code, unused_imports)]
mod helpers {
    use super::generated::*;
    use ::bindings::*;

    include!(concat!(env!("MAGNI_BINDINGS"), "/helpers_generated.rs"));
}

#[allow(ambiguous_glob_reexports, unused_imports)]
mod all {
    pub use super::generated::*;
    pub use super::helpers::*;
    pub use ::bindings::*;
}

pub use all::*;
