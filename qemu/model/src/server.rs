// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The vfio-user server that QEMU connects to.

pub mod pci;

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use vfio_bindings::bindings::vfio::{
    vfio_region_info, vfio_region_sparse_mmap_area, VFIO_IRQ_INFO_EVENTFD,
    VFIO_IRQ_SET_ACTION_TRIGGER, VFIO_PCI_BAR0_REGION_INDEX, VFIO_PCI_CONFIG_REGION_INDEX,
    VFIO_PCI_MSI_IRQ_INDEX, VFIO_PCI_NUM_IRQS, VFIO_PCI_NUM_REGIONS, VFIO_REGION_INFO_FLAG_MMAP,
    VFIO_REGION_INFO_FLAG_READ, VFIO_REGION_INFO_FLAG_WRITE,
};
use vfio_user::{
    DmaMapFlags, DmaUnmapFlags, IrqInfo, Server, ServerBackend, ServerRegion, SparseArea,
};

use crate::irq::{Line, Vectors};
use crate::machine::Shared;
use crate::regs::{csf, WINDOW_SIZE};
use pci::ConfigSpace;

/// The eventfds of the message vectors, as the client set them.
#[derive(Clone, Default)]
pub struct EventFds(Arc<Mutex<[Option<File>; pci::VECTORS as usize]>>);

impl Vectors for EventFds {
    fn signal(&mut self, line: Line) {
        let fds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(mut fd) = fds[line as usize].as_ref() {
            if let Err(error) = fd.write_all(&1u64.to_ne_bytes()) {
                eprintln!("mali-csf: the {line:?} interrupt could not be sent: {error}");
            }
        }
    }
}

impl EventFds {
    /// Sets the vectors from `start` on; none at all when `fds` is empty.
    fn set(&self, start: u32, fds: Vec<File>) -> io::Result<()> {
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if fds.is_empty() {
            *slots = Default::default();
            return Ok(());
        }
        let start = start as usize;
        if start.saturating_add(fds.len()) > slots.len() {
            return Err(io::Error::other(format!(
                "the client set message vectors {start} to {}, the device has {}",
                start + fds.len() - 1,
                slots.len()
            )));
        }
        for (slot, fd) in slots[start..].iter_mut().zip(fds) {
            *slot = Some(fd);
        }
        Ok(())
    }
}

/// Serves one client on the socket `path`, until it hangs up.
///
/// `flush_page` is mapped into the client's view of the window, at the flush id's offset.
///
/// # Errors
///
/// If the socket cannot be made, or the client breaks the protocol.
pub fn serve(
    path: &Path,
    machine: Shared,
    vectors: EventFds,
    flush_page: Option<&File>,
) -> anyhow::Result<()> {
    let server = Server::new(path, true, irqs(), regions(flush_page)).with_context(|| {
        format!(
            "could not make the socket {}: is it left over from another run?",
            path.display()
        )
    })?;
    let mut backend = Backend {
        config: ConfigSpace::default(),
        machine,
        vectors,
    };
    server
        .run(&mut backend)
        .context("the connection to QEMU broke")
}

fn irqs() -> Vec<IrqInfo> {
    (0..VFIO_PCI_NUM_IRQS)
        .map(|index| IrqInfo {
            index,
            count: if index == VFIO_PCI_MSI_IRQ_INDEX {
                pci::VECTORS
            } else {
                0
            },
            flags: VFIO_IRQ_INFO_EVENTFD,
        })
        .collect()
}

fn regions(flush_page: Option<&File>) -> Vec<ServerRegion> {
    let access = VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE;
    (0..VFIO_PCI_NUM_REGIONS)
        .map(|index| {
            let mut region = ServerRegion {
                region_info: vfio_region_info {
                    argsz: std::mem::size_of::<vfio_region_info>() as u32,
                    index,
                    ..Default::default()
                },
                sparse_areas: Vec::new(),
                mmap_fd: None,
            };
            match index {
                VFIO_PCI_BAR0_REGION_INDEX => {
                    region.region_info.size = WINDOW_SIZE;
                    region.region_info.flags = access;
                    if let Some(file) = flush_page {
                        region.region_info.flags |= VFIO_REGION_INFO_FLAG_MMAP;
                        region.mmap_fd = Some(file.as_raw_fd());
                        region.sparse_areas.push(SparseArea {
                            area: vfio_region_sparse_mmap_area {
                                offset: csf::LATEST_FLUSH.into(),
                                size: csf::LATEST_FLUSH_SIZE.into(),
                            },
                        });
                    }
                }
                VFIO_PCI_CONFIG_REGION_INDEX => {
                    region.region_info.size = pci::SIZE as u64;
                    region.region_info.flags = access;
                }
                _ => {}
            }
            region
        })
        .collect()
}

struct Backend {
    config: ConfigSpace,
    machine: Shared,
    vectors: EventFds,
}

/// The register that an access to the window is to, if it is an aligned 32-bit one.
fn register(offset: u64, len: usize) -> Option<u32> {
    (len == 4 && offset % 4 == 0 && offset < WINDOW_SIZE).then_some(offset as u32)
}

impl ServerBackend for Backend {
    fn region_read(&mut self, region: u32, offset: u64, data: &mut [u8]) -> io::Result<()> {
        match region {
            VFIO_PCI_CONFIG_REGION_INDEX => self.config.read(offset, data),
            VFIO_PCI_BAR0_REGION_INDEX => match register(offset, data.len()) {
                Some(register) => {
                    data.copy_from_slice(&self.machine.read_register(register).to_le_bytes());
                }
                None => {
                    data.fill(0);
                    let len = data.len();
                    self.machine
                        .with(|machine| machine.hardware.odd_access(false, offset, len));
                }
            },
            _ => data.fill(0),
        }
        Ok(())
    }

    fn region_write(&mut self, region: u32, offset: u64, data: &[u8]) -> io::Result<()> {
        match region {
            VFIO_PCI_CONFIG_REGION_INDEX => self.config.write(offset, data),
            VFIO_PCI_BAR0_REGION_INDEX => match (register(offset, data.len()), data.try_into()) {
                (Some(register), Ok(word)) => self
                    .machine
                    .write_register(register, u32::from_le_bytes(word)),
                _ => self
                    .machine
                    .with(|machine| machine.hardware.odd_access(true, offset, data.len())),
            },
            _ => {}
        }
        Ok(())
    }

    fn dma_map(
        &mut self,
        _flags: DmaMapFlags,
        offset: u64,
        address: u64,
        size: u64,
        fd: Option<File>,
    ) -> io::Result<()> {
        // What comes without a file is no memory of the guest's that could be shared.
        let Some(file) = fd else { return Ok(()) };
        self.machine
            .with(|machine| machine.hardware.ram.map(address, size, file, offset))
    }

    fn dma_unmap(&mut self, _flags: DmaUnmapFlags, address: u64, size: u64) -> io::Result<()> {
        self.machine
            .with(|machine| machine.hardware.ram.unmap(address, size));
        Ok(())
    }

    fn reset(&mut self) -> io::Result<()> {
        self.machine.bus_reset();
        Ok(())
    }

    fn set_irqs(
        &mut self,
        index: u32,
        flags: u32,
        start: u32,
        _count: u32,
        fds: Vec<File>,
    ) -> io::Result<()> {
        if index == VFIO_PCI_MSI_IRQ_INDEX && flags & VFIO_IRQ_SET_ACTION_TRIGGER != 0 {
            self.vectors.set(start, fds)?;
        }
        Ok(())
    }
}
