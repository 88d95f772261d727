// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The firmware that schedules command streams: loading, booting, and its interface.

mod events;
mod gather;
pub(crate) mod image;
pub(crate) mod interface;
pub(crate) mod layout;
mod load;
mod mcu;
mod patience;
mod requests;
mod restart;
mod wait;

pub(crate) use self::{
    events::{
        JobIrq,
        McuEvents, //
    },
    interface::CsInterface,
    mcu::Firmware,
    patience::Effort,
};
