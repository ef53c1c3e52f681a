//! What an earlier run left in the journal: read piece by piece, so that a long one need not fit into memory.

use super::error::JournalError;
use super::frame::Frame;
use super::keeper::Keeper;
use super::log::Place;
use super::replay::{self, Replayed};
use super::{Journal, Receipt, Recovery, Ticket};

use tollgate_core::usage::UsageEntry;

/// So many bytes are read from the disk at once, at most, but for a record that is longer.
const READ_BYTES_MAX: u64 = 1 << 20;

impl Recovery {
    /// What lives of what was read, as it stands on the disk: 8 bytes for each.
    pub(super) fn of(replayed: &Replayed) -> Self {
        let mut living: Vec<(Place, u64, bool)> = replayed
            .live
            .iter()
            .map(|(number, live)| (live.place, *number, live.open))
            .collect();
        living.sort_unstable_by_key(|(place, ..)| (place.segment, place.offset));
        let mut recovery = Self {
            unposted: Vec::new(),
            interrupted: Vec::new(),
            torn_bytes: replayed.torn_bytes,
            records: replayed.records,
        };
        for (_, number, is_open) in living {
            if is_open {
                recovery.interrupted.push(Ticket { number });
            } else {
                recovery.unposted.push(Receipt { number });
            }
        }
        recovery
    }
}

impl Ticket {
    const fn into_receipt(self) -> Receipt {
        Receipt {
            number: self.number,
        }
    }
}

impl Journal {
    /// The rows of these receipts, in their order. Reads the disk.
    pub fn rows(&self, receipts: &[Receipt]) -> Result<Vec<UsageEntry>, JournalError> {
        let numbers = receipts.iter().map(|receipt| receipt.number);
        self.keeper.read(numbers)
    }

    /// Takes the worst case of a call that was left open for its row: so would every later start, and nothing has to be
    /// written for it.
    pub fn give_up(&self, ticket: Ticket) -> Receipt {
        let receipt = ticket.into_receipt();
        self.keeper.log.lock().give_up(receipt.number);
        receipt
    }
}

impl Keeper {
    fn read(&self, numbers: impl Iterator<Item = u64>) -> Result<Vec<UsageEntry>, JournalError> {
        // Nothing that lives is removed meanwhile, wherever it is carried.
        let _no_removal = self.chores.lock();
        let places = {
            let log = self.log.lock();
            let places = numbers.map(|number| log.place_of(number).ok_or(JournalError::NotOpen));
            places.collect::<Result<Vec<Place>, _>>()?
        };
        let mut entries = Vec::with_capacity(places.len());
        let mut bytes = Vec::new();
        let mut file = None;
        let mut rest = places.as_slice();
        while let Some(first) = rest.first() {
            let (near, others) = rest.split_at(near(rest));
            rest = others;
            let open = match file.take() {
                Some((segment, open)) if segment == first.segment => open,
                _ => self.disk.open_segment(first.segment)?,
            };
            let end = near.last().map_or(0, |last| last.offset + last.length);
            bytes.resize(usize::try_from(end - first.offset).unwrap_or(0), 0);
            self.disk
                .read_at(&open, first.segment, &mut bytes, first.offset)?;
            for place in near {
                let start = usize::try_from(place.offset - first.offset).unwrap_or(usize::MAX);
                let frame = Frame::read(bytes.get(start..).unwrap_or_default());
                let frame = frame.map_err(|flaw| replay::corrupt(&self.disk, *place, flaw.what))?;
                entries.push(replay::decode(&self.disk, &frame, *place)?);
            }
            file = Some((first.segment, open));
        }
        Ok(entries)
    }
}

/// How many of the first places can be read at once: they rise within one segment and stand close together.
fn near(places: &[Place]) -> usize {
    let Some(first) = places.first() else {
        return 0;
    };
    let pairs = places.iter().zip(places.iter().skip(1));
    let together = pairs.take_while(|(before, place)| {
        place.segment == first.segment
            && place.offset > before.offset
            && place.offset + place.length - first.offset <= READ_BYTES_MAX
    });
    1 + together.count()
}
