//! The archive in memory: one segment that is never full.

use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use yuanli_ports::Archive;
use yuanli_ports::archive::{Block, Place, Segment};
use yuanli_ports::store::StoreError;

#[derive(Debug, Default)]
pub(crate) struct MemoryArchive(Mutex<Vec<Vec<Bytes>>>);

impl MemoryArchive {
    fn blocks(&self) -> Vec<Vec<Bytes>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[async_trait]
impl Archive for MemoryArchive {
    async fn append(&self, records: Vec<Bytes>) -> Result<Vec<Place>, StoreError> {
        let mut blocks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let offset = blocks.len() as u64;
        let place = |position: u32| Place { segment: 1, offset, position };
        let places = (0..records.len() as u32).map(place).collect();
        blocks.push(records);
        Ok(places)
    }

    async fn read(&self, place: Place) -> Result<Bytes, StoreError> {
        let blocks = self.blocks();
        let found = blocks.get(place.offset as usize).and_then(|block| block.get(place.position as usize));
        found.cloned().ok_or_else(|| StoreError::Damaged(format!("no record at {place:?}")))
    }

    async fn block(&self, segment: u64, offset: Option<u64>) -> Result<Option<Block>, StoreError> {
        let offset = offset.unwrap_or(0);
        let Some(block) = self.blocks().get(offset as usize).cloned().filter(|_| segment == 1) else {
            return Ok(None);
        };
        let record = |(position, bytes)| (Place { segment, offset, position }, bytes);
        Ok(Some((offset + 1, (0..).zip(block).map(record).collect())))
    }

    async fn segments(&self) -> Result<Vec<Segment>, StoreError> {
        let bytes = self.blocks().iter().flatten().map(|record| record.len() as u64).sum();
        Ok(if bytes == 0 { Vec::new() } else { vec![Segment { number: 1, bytes, is_open: true }] })
    }

    async fn remove(&self, _: u64) -> Result<(), StoreError> {
        Ok(())
    }
}
