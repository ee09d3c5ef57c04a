//! What is in a file: what its readers see, what the device has, and what may be found after a power cut.

use std::collections::BTreeMap;

use super::Random;

/// What a device writes whole or not at all, in bytes.
const SECTOR: usize = 512;
/// What a system keeps in memory and writes back as one, in bytes.
pub(super) const PAGE: usize = 4096;
/// Moments of a sector that are remembered. A file that is never synced would else grow with every write.
const MOMENTS: usize = 16;

/// A file's content.
#[derive(Default)]
pub(super) struct Content {
    /// What readers see.
    pub(super) seen: Vec<u8>,
    /// What the device has.
    pub(super) device: Vec<u8>,
    /// The sectors that the next sync writes, each with what it was since the last, oldest first.
    sectors: BTreeMap<usize, Vec<[u8; SECTOR]>>,
    /// The lengths since the last sync, oldest first.
    lengths: Vec<usize>,
}

impl Content {
    pub(super) fn write(&mut self, bytes: &[u8], offset: usize) {
        let end = offset + bytes.len();
        if end > self.seen.len() {
            self.seen.resize(end, 0);
            self.lengths.push(end);
        }
        self.seen[offset..end].copy_from_slice(bytes);
        let pages = offset / PAGE * PAGE..end.next_multiple_of(PAGE);
        self.touch(pages.start / SECTOR..pages.end / SECTOR);
    }

    pub(super) fn truncate(&mut self, size: usize) {
        self.seen.resize(size, 0);
        self.lengths.push(size);
        self.sectors.retain(|sector, _| sector * SECTOR < size);
        self.touch(size / SECTOR..size.div_ceil(SECTOR));
    }

    /// Notes sectors that are to be written, where the device or the last note has something else.
    fn touch(&mut self, sectors: std::ops::Range<usize>) {
        // What was cut off since the last sync will be zeroes on the device.
        let kept = self.lengths.iter().copied().min().unwrap_or(usize::MAX).min(self.device.len());
        for number in sectors.filter(|number| number * SECTOR < self.seen.len()) {
            let now = sector(&self.seen, number);
            let last = self.sectors.get(&number).and_then(|moments| moments.last().copied());
            if last.unwrap_or_else(|| sector(&self.device[..kept], number)) != now {
                self.sectors.entry(number).or_default().push(now);
            }
        }
    }

    /// Forgets any of the moments of a sector of which there are many; never the last.
    pub(super) fn forget_moments(&mut self, random: &mut Random) {
        for moments in self.sectors.values_mut() {
            while moments.len() > MOMENTS {
                moments.remove(random.below(MOMENTS));
            }
        }
        while self.lengths.len() > MOMENTS {
            self.lengths.remove(random.below(MOMENTS));
        }
    }

    pub(super) fn sync(&mut self) {
        let lengths = std::mem::take(&mut self.lengths);
        resize(&mut self.device, &lengths);
        for (number, moments) in std::mem::take(&mut self.sectors) {
            moments.last().into_iter().for_each(|last| put(&mut self.device, number, last));
        }
    }

    /// Some sectors reach the device; all count as if they had.
    pub(super) fn fail_sync(&mut self, random: &mut Random) {
        let part = [0, 50, 100][random.below(3)];
        resize(&mut self.device, &std::mem::take(&mut self.lengths));
        for (number, moments) in std::mem::take(&mut self.sectors) {
            if let (Some(last), true) = (moments.last(), random.chance(part)) {
                put(&mut self.device, number, last);
            }
        }
    }

    pub(super) fn after_power_cut(&self, random: &mut Random) -> Self {
        let part = [0, 50, 90, 100][random.below(4)];
        let lengths = match part {
            0 => 0,
            100 => self.lengths.len(),
            _ => random.below(self.lengths.len() + 1),
        };
        let mut device = self.device.clone();
        resize(&mut device, &self.lengths[..lengths]);
        for (number, moments) in &self.sectors {
            if random.chance(part) {
                let moment = if part == 100 { moments.len() - 1 } else { random.below(moments.len()) };
                put(&mut device, *number, &moments[moment]);
            }
        }
        Self { seen: device.clone(), device, ..Self::default() }
    }
}

/// A sector, with zeroes for what is beyond the end.
fn sector(bytes: &[u8], number: usize) -> [u8; SECTOR] {
    let mut found = [0; SECTOR];
    if let Some(rest) = bytes.get(number * SECTOR..) {
        let length = rest.len().min(SECTOR);
        found[..length].copy_from_slice(&rest[..length]);
    }
    found
}

/// Writes as much of a sector as the file is long.
fn put(bytes: &mut [u8], number: usize, sector: &[u8; SECTOR]) {
    if let Some(rest) = bytes.get_mut(number * SECTOR..) {
        let length = rest.len().min(SECTOR);
        rest[..length].copy_from_slice(&sector[..length]);
    }
}

/// Gives a file its lengths one after the other: what was cut off is zeroes when it is there again.
fn resize(bytes: &mut Vec<u8>, lengths: &[usize]) {
    let Some(last) = lengths.last() else { return };
    bytes.truncate(lengths.iter().copied().min().unwrap_or(*last));
    bytes.resize(*last, 0);
}
