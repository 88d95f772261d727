// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Every fault and action: its name, its keys, and where it acts.

/// A fault that can be armed, or an action that is done at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The firmware never answers a request.
    IgnoreRequest,
    /// The firmware serves a request late.
    LateAck,
    /// The firmware stops to answer and streams stop, until it is started again.
    McuSilent,
    /// The microcontroller does not come up.
    NoBoot,
    /// The firmware writes garbage into what it may write.
    Garbage,
    /// A doorbell is not heard.
    LostDoorbell,
    /// An interrupt's edge is not sent.
    LostInterrupt,
    /// An address space stays active after a command.
    AsStuck,
    /// A cache flush never completes.
    FlushStuck,
    /// The L2 never becomes ready.
    L2Stuck,
    /// A reset never completes.
    SoftResetStuck,
    /// A stream's next instruction faults.
    StreamFault,
    /// A stream's next instruction ends it.
    StreamFatal,
    /// A stream makes no progress any more.
    StreamStall,
    /// A stream finds its tiler heap exhausted.
    TilerOom,
    /// The microcontroller halts by itself.
    McuHalt,
    /// The microcontroller crashes.
    McuFatal,
    /// Interrupts without a cause.
    SpuriousInterrupt,
    /// The GPU meets a fault outside of all address spaces.
    GpuFault,
    /// An access through an address space faults.
    MmuFault,
    /// An access of the microcontroller faults.
    AsFaultMcu,
    /// The host reset the GPU.
    GpuReset,
}

/// How a kind comes to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// A test arms it, and it strikes when its occasion comes.
    Armed,
    /// A test has it done at once.
    Done,
    /// The host does it; it is only counted.
    Noted,
}

impl Kind {
    /// Number of kinds.
    pub const COUNT: usize = Self::GpuReset as usize + 1;

    /// The bit of this kind in a set.
    pub(super) fn bit(self) -> u64 {
        1 << self as u64
    }

    /// The row of this kind in [`TABLE`].
    pub fn row(self) -> &'static Row {
        &TABLE[self as usize]
    }

    /// The kind called `name`.
    pub fn named(name: &str) -> Option<Self> {
        TABLE
            .iter()
            .find(|row| row.name == name)
            .map(|row| row.kind)
    }
}

/// What a fault or an action can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// How often an armed fault strikes; 0 is until it is disarmed.
    Times,
    /// Group slot.
    Slot,
    /// Stream of a group slot.
    Cs,
    /// Request, see [`Request`].
    Req,
    /// Interrupt line, numbered as [`crate::irq::Line`].
    Line,
    /// Address space.
    As,
    /// Microseconds that a request is served late.
    Us,
    /// What garbage is written into, see [`Where`].
    Where,
    /// Start of the sequence of random numbers.
    Seed,
    /// Writes of garbage in a second.
    PerS,
    /// Milliseconds that garbage is written for; 0 is until it is disarmed.
    ForMs,
    /// Milliseconds after which the firmware puts right what garbage was written into.
    RepairMs,
    /// Exception type.
    Type,
    /// Address that an exception reports.
    Addr,
    /// Access that an MMU fault reports: read, write or execute.
    Access,
    /// Number of interrupts.
    Count,
    /// Microseconds between two interrupts.
    GapUs,
    /// Bits to set in RAWSTAT with each interrupt.
    Bits,
    /// GiB of its address space in which the buffer lies that a stream has called.
    Gib,
}

/// Values of a key that are words, in the order of their numbers.
const REQUESTS: &[&str] = &[
    "any",
    "terminate",
    "start",
    "suspend",
    "resume",
    "config",
    "status-update",
    "global",
    "ping",
    "halt",
];
const LINES: &[&str] = &["job", "mmu", "gpu"];
const PLACES: &[&str] = &["any", "glb", "csg", "cs", "ring", "events"];
const ACCESSES: &[&str] = &["read", "write", "execute"];

impl Key {
    /// Number of keys.
    pub const COUNT: usize = Self::Gib as usize + 1;

    /// How the key is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Times => "times",
            Self::Slot => "slot",
            Self::Cs => "cs",
            Self::Req => "req",
            Self::Line => "line",
            Self::As => "as",
            Self::Us => "us",
            Self::Where => "where",
            Self::Seed => "seed",
            Self::PerS => "per_s",
            Self::ForMs => "for_ms",
            Self::RepairMs => "repair_ms",
            Self::Type => "type",
            Self::Addr => "addr",
            Self::Access => "access",
            Self::Count => "count",
            Self::GapUs => "gap_us",
            Self::Bits => "bits",
            Self::Gib => "gib",
        }
    }

    /// The words that the key takes; `None` if it takes numbers.
    pub fn words(self) -> Option<&'static [&'static str]> {
        match self {
            Self::Req => Some(REQUESTS),
            Self::Line => Some(LINES),
            Self::Where => Some(PLACES),
            Self::Access => Some(ACCESSES),
            _ => None,
        }
    }

    /// The largest number that the key takes.
    pub fn max(self) -> u64 {
        match self {
            Self::Slot => 31,
            Self::Cs => 31,
            Self::As => 31,
            Self::Type => 0xff,
            Self::Bits | Self::PerS => u32::MAX.into(),
            Self::Gib => u64::MAX >> 30,
            // As microseconds, milliseconds or counts that cannot overflow a time.
            Self::Us | Self::ForMs | Self::RepairMs | Self::GapUs => 1 << 40,
            _ => u64::MAX,
        }
    }

    /// Whether the key says where a fault strikes, and not how.
    pub(super) fn is_place(self) -> bool {
        matches!(
            self,
            Self::Slot | Self::Cs | Self::Req | Self::Line | Self::As | Self::Gib
        )
    }
}

/// A request that a fault can be about; the numbers are those of the key `req`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// A group's state TERMINATE.
    Terminate = 1,
    /// A group's state START.
    Start = 2,
    /// A group's state SUSPEND.
    Suspend = 3,
    /// A group's state RESUME.
    Resume = 4,
    /// A group's endpoint configuration.
    Config = 5,
    /// A group's status words.
    StatusUpdate = 6,
    /// The timers and the core mask of the global interface.
    Global = 7,
    /// PING.
    Ping = 8,
    /// HALT.
    Halt = 9,
}

/// What garbage is written into; the numbers are those of the key `where`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Where {
    /// The global output block.
    Global = 1,
    /// The groups' output blocks.
    Group = 2,
    /// The streams' output blocks.
    Stream = 3,
    /// The output blocks beside the rings.
    Ring = 4,
    /// Events, doorbell acknowledgements and interrupts.
    Events = 5,
}

/// A row of [`TABLE`].
#[derive(Debug)]
pub struct Row {
    /// The kind.
    pub kind: Kind,
    /// Its name in commands.
    pub name: &'static str,
    /// How it comes to be.
    pub how: How,
    /// What it can be told.
    pub keys: &'static [Key],
    /// What it does.
    pub about: &'static str,
}

macro_rules! table {
    ($($kind:ident $name:literal $how:ident [$($key:ident)*] $about:literal;)*) => {
        /// All kinds, in their order.
        pub const TABLE: [Row; Kind::COUNT] = [$(Row {
            kind: Kind::$kind,
            name: $name,
            how: How::$how,
            keys: &[$(Key::$key),*],
            about: $about,
        }),*];
    };
}

table! {
    IgnoreRequest "ignore-request" Armed [Times Req Slot]
        "the firmware never answers the request, until it is another one";
    LateAck "late-ack" Armed [Times Req Slot Us]
        "the firmware serves the request US microseconds late (50000)";
    McuSilent "mcu-silent" Armed [Times]
        "no answers, no events, streams stop, until the microcontroller is started again or this is disarmed";
    NoBoot "no-boot" Armed [Times]
        "the microcontroller does not come up when it is enabled";
    Garbage "garbage" Armed [Where Seed PerS ForMs RepairMs]
        "random words (PER_S in a second, 1000) in what the firmware may write, put right after REPAIR_MS (20); strikes once a word";
    LostDoorbell "lost-doorbell" Armed [Times Slot]
        "a write to the doorbell of SLOT, or to any, is not heard";
    LostInterrupt "lost-interrupt" Armed [Times Line]
        "the edge of an interrupt is not sent; RAWSTAT has its bits";
    AsStuck "as-stuck" Armed [Times As]
        "the address space stays active after a command, until a reset";
    FlushStuck "flush-stuck" Armed [Times]
        "a cache flush never completes, until a reset";
    L2Stuck "l2-stuck" Armed [Times]
        "the L2 never becomes ready when it is powered on, until a reset";
    SoftResetStuck "soft-reset-stuck" Armed [Times]
        "a reset never completes, until the next one";
    StreamFault "stream-fault" Armed [Times Slot Cs Gib Type]
        "the next instruction that userspace submitted raises CS_FAULT of TYPE (0x4b), and is then executed";
    StreamFatal "stream-fatal" Armed [Times Slot Cs Gib Type]
        "the next instruction that userspace submitted raises CS_FATAL of TYPE (0x40; 0x41 is unrecoverable)";
    StreamStall "stream-stall" Armed [Times Slot Cs Gib]
        "the stream stops at its next instruction for good; counts as no progress for the progress timer";
    TilerOom "tiler-oom" Armed [Times Slot Cs Gib]
        "TILER_OOM before the next instruction; the stream goes on when it is answered";
    McuHalt "mcu-halt" Done []
        "the microcontroller halts, MCU_STATUS 2";
    McuFatal "mcu-fatal" Done []
        "the microcontroller crashes, MCU_STATUS 3";
    SpuriousInterrupt "spurious-interrupt" Done [Line Count GapUs Bits]
        "COUNT (1) interrupts on LINE (job), GAP_US (50) apart, that set BITS (0) in RAWSTAT; strikes once each";
    GpuFault "gpu-fault" Done [Type Addr]
        "a GPU fault of TYPE (0x80) at ADDR";
    MmuFault "mmu-fault" Done [As Type Addr Access]
        "a fault of TYPE (0xc3) at ADDR in address space AS (1) on ACCESS (read)";
    AsFaultMcu "as-fault-mcu" Done [Type Addr Access]
        "a fault of TYPE (0xc3) at ADDR in address space 0, which ends the firmware";
    GpuReset "gpu-reset" Noted []
        "the host has reset the GPU";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_in_the_order_of_their_kinds_and_have_names_of_their_own() {
        for (n, row) in TABLE.iter().enumerate() {
            assert_eq!(row.kind as usize, n, "{}", row.name);
            assert_eq!(Kind::named(row.name), Some(row.kind));
            assert_eq!(
                row.how == How::Armed,
                row.keys.contains(&Key::Times) || row.kind == Kind::Garbage
            );
        }
        assert_eq!(Kind::named("gremlin"), None);
    }

    #[test]
    fn words_have_the_numbers_that_the_types_say() {
        for (request, name) in [
            (Request::Terminate, "terminate"),
            (Request::Start, "start"),
            (Request::Suspend, "suspend"),
            (Request::Resume, "resume"),
            (Request::Config, "config"),
            (Request::StatusUpdate, "status-update"),
            (Request::Global, "global"),
            (Request::Ping, "ping"),
            (Request::Halt, "halt"),
        ] {
            assert_eq!(REQUESTS[request as usize], name);
        }
        for (place, name) in [
            (Where::Global, "glb"),
            (Where::Group, "csg"),
            (Where::Stream, "cs"),
            (Where::Ring, "ring"),
            (Where::Events, "events"),
        ] {
            assert_eq!(PLACES[place as usize], name);
        }
    }
}
