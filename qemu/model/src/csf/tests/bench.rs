// SPDX-License-Identifier: GPL-2.0 OR MIT

//! A firmware with a host's half of the interface around it.
//!
//! The offsets are written out here once more, from the driver's structures, so that a
//! slip in the firmware's own table shows.

use std::time::Duration;

use mali_firmware as image;

use super::asm;
use super::memory::{Memory, Use};
use crate::bus::Bus;
use crate::csf::{Csf, Next};
use crate::profile::Profile;

/// Interrupt bit of the global interface.
pub(super) const GLOBAL: u32 = 1 << 31;

// Request bits of the global interface.
pub(super) const HALT: u32 = 1 << 0;
pub(super) const CFG_PROGRESS_TIMER: u32 = 1 << 1;
pub(super) const CFG_ALLOC_EN: u32 = 1 << 2;
pub(super) const CFG_POWEROFF_TIMER: u32 = 1 << 3;
pub(super) const COUNTER_EN: u32 = 1 << 7;
pub(super) const PING: u32 = 1 << 8;
pub(super) const IDLE_EN: u32 = 1 << 10;
pub(super) const GLB_IDLE: u32 = 1 << 26;

// Request bits of a group.
pub(super) const TERMINATE: u32 = 0;
pub(super) const START: u32 = 1;
pub(super) const SUSPEND: u32 = 2;
pub(super) const RESUME: u32 = 3;
pub(super) const ENDPOINT_CONFIG: u32 = 1 << 4;
pub(super) const STATUS_UPDATE: u32 = 1 << 5;
pub(super) const SYNC_UPDATE: u32 = 1 << 28;
pub(super) const IDLE: u32 = 1 << 29;
pub(super) const PROGRESS_TIMER: u32 = 1 << 31;

// Request bits of a stream.
pub(super) const CS_START: u32 = 1;
pub(super) const CS_EXTRACT_EVENT: u32 = 1 << 4;
pub(super) const CS_IDLE_LEVELS: u32 = (1 << 8) | (1 << 10);
pub(super) const CS_TILER_OOM: u32 = 1 << 26;
pub(super) const CS_FATAL: u32 = 1 << 30;
pub(super) const CS_FAULT: u32 = 1 << 31;

/// Memory of a group that streams can load from and store to.
pub(super) const DATA: u64 = 0x2_0000_0000;
const DATA_SIZE: u64 = 0x1_0000;
/// Memory of a group for called buffers.
pub(super) const CODE: u64 = 0x3_0000_0000;
const CODE_SIZE: u64 = 0x1_0000;
/// Size of every ring.
pub(super) const RING_SIZE: u64 = 0x1000;
/// How long RUN instructions take.
pub(super) const RUN_TIME: Duration = Duration::from_micros(50);
/// How long a group has to be idle before it is reported, about.
pub(super) const IDLE_TIME: Duration = Duration::from_micros(800);

/// The blocks of an interface.
#[derive(Clone, Copy)]
pub(super) struct Interface {
    pub(super) input: u64,
    pub(super) output: u64,
}

/// A booted firmware on a bus in memory, and the host's view of it.
pub(super) struct Bench {
    pub(super) bus: Memory,
    pub(super) csf: Csf,
}

impl Bench {
    /// The image is loaded; nothing is booted.
    pub(super) fn unbooted() -> Self {
        Self::with(Profile::g610())
    }

    pub(super) fn with(mut profile: Profile) -> Self {
        profile.run_time = RUN_TIME;
        let csf = Csf::new(&profile);
        let bus = Memory::new(profile);
        let mut bench = Self { bus, csf };
        bench.load_image();
        bench
    }

    pub(super) fn load_image(&mut self) {
        let bus = &mut self.bus;
        bus.map(0, image::CODE_VA.into(), image::CODE_SIZE.into(), Use::Code);
        bus.fill(0, image::CODE_VA.into(), &image::code());
        bus.map(0, image::DATA_VA.into(), image::DATA_SIZE.into(), Use::Data);
        bus.fill(0, image::DATA_VA.into(), &image::data_init());
        bus.map(0, image::BSS_VA.into(), image::BSS_SIZE.into(), Use::Data);
        let size = image::SHARED_SIZE.into();
        bus.map(0, image::SHARED_VA.into(), size, Use::Data);
    }

    /// Booted, and configured as drivers do.
    pub(super) fn new() -> Self {
        let mut bench = Self::unbooted();
        bench.boot();
        bench
    }

    pub(super) fn boot(&mut self) {
        self.csf.boot(&mut self.bus).expect("the image is good");
        assert_eq!(self.irq(), GLOBAL);
        let glb = self.glb();
        let input = glb.input;
        self.set32(input + 4, !0);
        self.set64(input + 24, 0x5_0005);
        // 800 µs of the 62.5 MHz timestamp.
        self.set32(input + 128, 50_000_u32.div_ceil(1024));
        self.set32(input, IDLE_EN | COUNTER_EN);
        self.toggle(glb, CFG_ALLOC_EN);
        self.csf.doorbell(0, &mut self.bus);
        self.irq();
        self.clean();
    }

    /// Nothing was reported as misuse.
    #[track_caller]
    pub(super) fn clean(&self) {
        assert!(self.bus.misuses.is_empty(), "{:?}", self.bus.misuses);
    }

    /// Exactly one misuse was reported, and its text has `part` in it.
    #[track_caller]
    pub(super) fn misused(&mut self, part: &str) {
        let misuses = std::mem::take(&mut self.bus.misuses);
        assert!(
            misuses.len() == 1 && misuses[0].contains(part),
            "expected one misuse with \"{part}\", not {misuses:?}"
        );
    }

    /// The job interrupts raised since the last call.
    pub(super) fn irq(&mut self) -> u32 {
        std::mem::take(&mut self.bus.job_irq)
    }

    #[track_caller]
    pub(super) fn get32(&mut self, as_nr: u8, va: u64) -> u32 {
        let mut buf = [0; 4];
        self.bus.read(as_nr, va, &mut buf).expect("mapped");
        u32::from_le_bytes(buf)
    }

    #[track_caller]
    pub(super) fn get64(&mut self, as_nr: u8, va: u64) -> u64 {
        let mut buf = [0; 8];
        self.bus.read(as_nr, va, &mut buf).expect("mapped");
        u64::from_le_bytes(buf)
    }

    /// Writes a word in the MCU's address space.
    pub(super) fn set32(&mut self, va: u64, value: u32) {
        self.bus.fill(0, va, &value.to_le_bytes());
    }

    /// Writes a double word in the MCU's address space.
    pub(super) fn set64(&mut self, va: u64, value: u64) {
        self.bus.fill(0, va, &value.to_le_bytes());
    }

    /// The interface whose control block is at `control`, with its input block's address
    /// at `field`.
    fn interface(&mut self, control: u64, field: u64) -> Interface {
        Interface {
            input: self.get32(0, control + field).into(),
            output: self.get32(0, control + field + 4).into(),
        }
    }

    pub(super) fn glb(&mut self) -> Interface {
        self.interface(image::SHARED_VA.into(), 8)
    }

    fn csg_control(&mut self, slot: u32) -> u64 {
        let stride = self.get32(0, u64::from(image::SHARED_VA) + 20);
        u64::from(image::SHARED_VA) + 0x1000 + u64::from(slot * stride)
    }

    pub(super) fn csg(&mut self, slot: u32) -> Interface {
        let control = self.csg_control(slot);
        self.interface(control, 4)
    }

    pub(super) fn cs(&mut self, slot: u32, stream: u32) -> Interface {
        let control = self.csg_control(slot);
        let stride = self.get32(0, control + 24);
        self.interface(control + 0x40 + u64::from(stream * stride), 4)
    }

    pub(super) fn req(&mut self, at: Interface) -> u32 {
        self.get32(0, at.input)
    }

    pub(super) fn ack(&mut self, at: Interface) -> u32 {
        self.get32(0, at.output)
    }

    /// Makes `bits` of the request word differ from the acknowledge word.
    pub(super) fn toggle(&mut self, at: Interface, bits: u32) {
        let (req, ack) = (self.req(at), self.ack(at));
        self.set32(at.input, (req & !bits) | (!ack & bits));
    }

    pub(super) fn set_bits(&mut self, at: Interface, value: u32, mask: u32) {
        let req = self.req(at);
        self.set32(at.input, (req & !mask) | (value & mask));
    }

    /// Which of `bits` differ between request and acknowledgement.
    pub(super) fn pending(&mut self, at: Interface, bits: u32) -> u32 {
        (self.req(at) ^ self.ack(at)) & bits
    }

    /// Answers all events in `bits`; returns which there were.
    pub(super) fn answer(&mut self, at: Interface, bits: u32) -> u32 {
        let events = self.pending(at, bits);
        let ack = self.ack(at);
        self.set_bits(at, ack, bits);
        events
    }

    /// Rings the doorbells of `streams`, all through the group's slot.
    pub(super) fn ring_csg(&mut self, slot: u32, streams: u32) {
        let csg = self.csg(slot);
        let ack = self.get32(0, csg.output + 8);
        self.set32(csg.input + 8, ack ^ streams);
        self.ring_glb(1 << slot);
    }

    /// Rings the doorbells of `groups` through the global interface.
    pub(super) fn ring_glb(&mut self, groups: u32) {
        let glb = self.glb();
        let ack = self.get32(0, glb.output + 8);
        self.set32(glb.input + 8, ack ^ groups);
        self.csf.doorbell(0, &mut self.bus);
        assert_eq!(self.get32(0, glb.output + 8), ack ^ groups);
    }

    /// Asks for a state of a group; says whether it was acknowledged.
    pub(super) fn state(&mut self, slot: u32, state: u32) -> bool {
        let csg = self.csg(slot);
        self.set_bits(csg, state, 7);
        self.ring_csg(slot, 0);
        self.pending(csg, 7) == 0
    }

    /// MCU address of the input block beside a ring; the output block is a page behind.
    pub(super) fn ring_blocks(slot: u32, stream: u32) -> u64 {
        0x500_0000 + u64::from(slot * 8 + stream) * 0x2000
    }

    pub(super) fn suspend_buffer(slot: u32) -> u64 {
        0x600_0000 + u64::from(slot) * 0x4000
    }

    /// GPU address of a ring.
    pub(super) fn ring_base(stream: u32) -> u64 {
        0x1_0000_0000 + u64::from(stream) * 0x1_0000
    }

    /// Maps what group `slot` needs, in address space `slot` + 1.
    pub(super) fn create_group(&mut self, slot: u32, streams: u32) {
        let as_nr = slot as u8 + 1;
        self.bus.map(as_nr, DATA, DATA_SIZE, Use::Data);
        self.bus.map(as_nr, CODE, CODE_SIZE, Use::Data);
        let buffer = Self::suspend_buffer(slot);
        self.bus.map(0, buffer, 0x4000, Use::Data);
        for stream in 0..streams {
            let base = Self::ring_base(stream);
            self.bus.map(as_nr, base, RING_SIZE, Use::Data);
            let blocks = Self::ring_blocks(slot, stream);
            self.bus.map(0, blocks, 0x2000, Use::Data);
        }
    }

    /// Configures slot `slot` for the group whose memory was made for slot `owner`.
    pub(super) fn program_group(&mut self, slot: u32, owner: u32, streams: u32) {
        for stream in 0..streams {
            let cs = self.cs(slot, stream);
            let blocks = Self::ring_blocks(owner, stream);
            let extract = self.get64(0, blocks + 0x1000);
            self.set64(blocks + 8, extract);
            self.set32(cs.input + 4, ((slot + 1) << 8) | 1);
            self.set32(cs.input + 12, !0);
            self.set64(cs.input + 16, Self::ring_base(stream));
            self.set32(cs.input + 24, RING_SIZE as u32);
            self.set64(cs.input + 48, blocks);
            self.set64(cs.input + 56, blocks + 0x1000);
            self.set_bits(cs, CS_START | CS_IDLE_LEVELS, 7 | CS_IDLE_LEVELS);
        }
        let csg = self.csg(slot);
        self.set32(csg.input + 4, !0);
        self.set64(csg.input + 32, 0x5_0005);
        self.set64(csg.input + 40, 0x5_0005);
        self.set32(csg.input + 48, 1);
        self.set32(csg.input + 52, 4 | (4 << 8) | (1 << 16) | (15 << 28));
        self.set64(csg.input + 64, Self::suspend_buffer(owner));
        self.set32(csg.input + 80, owner + 1);
        self.toggle(csg, ENDPOINT_CONFIG);
    }

    /// Starts a group of so many streams on a slot.
    pub(super) fn start_group(&mut self, slot: u32, streams: u32) {
        self.create_group(slot, streams);
        self.program_group(slot, slot, streams);
        assert!(self.state(slot, START));
        self.clean();
        self.irq();
    }

    /// A booted firmware with one group of so many streams on slot 0.
    pub(super) fn with_group(streams: u32) -> Self {
        let mut bench = Self::new();
        bench.start_group(0, streams);
        bench
    }

    /// Puts instructions into a ring, padded to a cache line, without ringing.
    pub(super) fn insert(&mut self, owner: u32, stream: u32, instrs: &[u64]) {
        let blocks = Self::ring_blocks(owner, stream);
        let mut insert = self.get64(0, blocks);
        let mut instrs = instrs.to_vec();
        instrs.resize(instrs.len().next_multiple_of(8), asm::NOP);
        for instr in instrs {
            let at = Self::ring_base(stream) + insert % RING_SIZE;
            self.bus.fill(owner as u8 + 1, at, &instr.to_le_bytes());
            insert += 8;
        }
        self.set64(blocks, insert);
    }

    /// Puts instructions into the ring of a group on its own slot and rings the doorbell.
    pub(super) fn submit(&mut self, slot: u32, stream: u32, instrs: &[u64]) {
        self.insert(slot, stream, instrs);
        self.csf.doorbell(slot + 1, &mut self.bus);
    }

    /// Puts instructions into memory for called buffers; returns the size in bytes.
    pub(super) fn code(&mut self, slot: u32, at: u64, instrs: &[u64]) -> u32 {
        let bytes: Vec<u8> = instrs.iter().flat_map(|i| i.to_le_bytes()).collect();
        self.bus.fill(slot as u8 + 1, at, &bytes);
        bytes.len() as u32
    }

    /// Lets the streams run until there is nothing to do now.
    pub(super) fn run(&mut self) -> Next {
        for _ in 0..100_000 {
            match self.csf.run(64, &mut self.bus) {
                Next::Now => (),
                next => return next,
            }
        }
        panic!("the streams do not come to rest");
    }

    /// Lets time pass, and the streams run.
    pub(super) fn pass(&mut self, time: Duration) {
        self.bus.pass(time);
        self.run();
    }

    /// Runs instructions on stream 0 of slot 0 and returns when they are through.
    #[track_caller]
    pub(super) fn exec(&mut self, instrs: &[u64]) {
        self.submit(0, 0, instrs);
        self.run();
        assert!(self.is_through(0, 0), "the instructions are not through");
        self.clean();
    }

    /// How far a stream says it has come.
    pub(super) fn extract(&mut self, owner: u32, stream: u32) -> u64 {
        self.get64(0, Self::ring_blocks(owner, stream) + 0x1000)
    }

    /// Whether a stream says that it executed its whole ring.
    pub(super) fn is_through(&mut self, owner: u32, stream: u32) -> bool {
        let insert = self.get64(0, Self::ring_blocks(owner, stream));
        self.extract(owner, stream) == insert
    }

    /// The data memory of slot 0's group, as words.
    pub(super) fn data(&mut self, offset: u64) -> u32 {
        self.get32(1, DATA + offset)
    }

    pub(super) fn set_data(&mut self, offset: u64, value: u64) {
        self.bus.fill(1, DATA + offset, &value.to_le_bytes());
    }

    /// Asks for the status words; returns the output block of stream 0 of slot 0.
    pub(super) fn status(&mut self) -> u64 {
        let csg = self.csg(0);
        self.toggle(csg, STATUS_UPDATE);
        self.ring_glb(1);
        assert_eq!(self.pending(csg, STATUS_UPDATE), 0);
        self.cs(0, 0).output
    }

    /// Why stream 0 of slot 0 is blocked.
    pub(super) fn blocked_reason(&mut self) -> u32 {
        let output = self.status();
        self.get32(0, output + 96)
    }

    /// Busy scoreboard slots of stream 0 of slot 0.
    pub(super) fn scoreboards(&mut self) -> u32 {
        let output = self.status();
        self.get32(0, output + 92)
    }

    /// Checks that stream 0 of slot 0 reported an exception with `event`, answers it as
    /// drivers do, and returns type and info.
    #[track_caller]
    pub(super) fn exception(&mut self, event: u32) -> (u32, u64) {
        let (csg, cs) = (self.csg(0), self.cs(0, 0));
        assert_eq!(self.irq() & 1, 1, "no interrupt for the exception");
        let flagged = self.get32(0, csg.output + 12);
        let answered = self.get32(0, csg.input + 12);
        assert_eq!(flagged ^ answered, 1, "stream 0 is not flagged");
        self.set32(csg.input + 12, flagged);
        assert_eq!(self.answer(cs, CS_FATAL | CS_FAULT), event);
        let (word, info) = if event == CS_FATAL {
            (132, 144)
        } else {
            (128, 136)
        };
        let exception = self.get32(0, cs.output + word);
        let info = self.get64(0, cs.output + info);
        self.ring_csg(0, 1);
        (exception, info)
    }
}
