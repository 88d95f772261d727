// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Asking the firmware for something: a word of requests, and the word that acknowledges them.

use super::layout::{
    RequestInput,
    RequestOutput, //
};
use crate::gem::KernelBo;
use kernel::{
    new_spinlock,
    prelude::*,
    sync::{
        Arc,
        SpinLock, //
    },
};

/// New value of a request word: `bits` differ from `ack` afterwards, which asks for something.
const fn toggled(req: u32, ack: u32, bits: u32) -> u32 {
    (ack ^ bits) & bits | req & !bits
}

/// New value of a request word: the bits in `mask` are those of `value` afterwards.
const fn replaced(req: u32, mask: u32, value: u32) -> u32 {
    value & mask | req & !mask
}

/// The requests to an interface, the firmware's answers, and its doorbells.
///
/// Some bits ask by differing from the acknowledgement, others are a value which the firmware
/// takes over. Either way the word is written as a whole, so that whoever writes it holds the
/// lock.
#[pin_data]
pub(crate) struct Requests {
    input: RequestInput,
    output: RequestOutput,
    #[pin]
    lock: SpinLock<()>,
}

impl Requests {
    /// Returns an initialiser for the requests that begin the input block at offset `input` of
    /// `memory` and are answered in the output block at `output`; [`None`] if they do not fit.
    pub(super) fn at(
        memory: &Arc<KernelBo>,
        input: u64,
        output: u64,
    ) -> Option<impl PinInit<Self>> {
        let input = RequestInput::at(memory, input)?;
        let output = RequestOutput::at(memory, output)?;

        Some(pin_init!(Self {
            input,
            output,
            lock <- new_spinlock!(()),
        }))
    }

    /// What is asked for.
    pub(crate) fn req(&self) -> u32 {
        self.input.req()
    }

    /// What the firmware answers. It may answer more at any time.
    pub(crate) fn ack(&self) -> u32 {
        self.output.ack()
    }

    /// Those of the bits in `mask` that the firmware has not answered.
    pub(crate) fn missing(&self, mask: u32) -> u32 {
        (self.input.req() ^ self.output.ack()) & mask
    }

    /// Asks for everything in `toggles`, and sets the bits in `mask` to those in `value`: in one
    /// store, so that the firmware sees all of it or nothing.
    pub(crate) fn ask(&self, toggles: u32, mask: u32, value: u32) {
        let _guard = self.lock.lock();
        let req = replaced(self.input.req(), mask, value);
        self.input.set_req(toggled(req, self.output.ack(), toggles));
    }

    /// Asks for everything in `bits`. Events are accepted by [`set`](Self::set) instead.
    pub(crate) fn toggle(&self, bits: u32) {
        self.ask(bits, 0, 0);
    }

    /// Sets the request bits in `mask` to those in `value`.
    pub(crate) fn set(&self, mask: u32, value: u32) {
        self.ask(0, mask, value);
    }

    /// Asks for a look at what belongs to the interface: group slots for the global one, streams
    /// for a group slot's; a bit each.
    pub(crate) fn toggle_doorbells(&self, bits: u32) {
        let _guard = self.lock.lock();
        self.input.set_doorbell_req(toggled(
            self.input.doorbell_req(),
            self.output.doorbell_ack(),
            bits,
        ));
    }
}

#[kunit_tests(magni_fw_requests)]
mod tests {
    use super::*;

    #[test]
    fn request_words() {
        assert_eq!(toggled(0, 0, 0b10), 0b10);
        assert_eq!(toggled(0b10, 0b10, 0b10), 0);
        assert_eq!(toggled(0b101, 0b010, 0b010), 0b101);
        assert_eq!(replaced(0xff, 0x7, 0x2), 0xfa);
        // Both at once: a state, and a request beside it.
        assert_eq!(toggled(replaced(0x11, 0x7, 0x2), 0x10, 0x10), 0x02);
    }
}
