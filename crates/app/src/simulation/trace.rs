//! What happened, as a hash of all of it and the last of it in words.

use std::collections::VecDeque;
use std::fmt;

/// How much of the end is kept.
const KEPT: usize = 60;

/// One thing that happened, with its figures.
#[derive(Debug, Clone, Copy)]
pub(super) struct Happening {
    step: u64,
    what: &'static str,
    figures: [i64; 4],
}

/// All that happened since the beginning.
#[derive(Debug)]
pub(super) struct Trace {
    pub(super) step: u64,
    hash: u64,
    last: VecDeque<Happening>,
}

impl Trace {
    pub(super) fn new() -> Self {
        Self {
            step: 0,
            hash: 0xcbf2_9ce4_8422_2325,
            last: VecDeque::with_capacity(KEPT),
        }
    }

    pub(super) fn note(&mut self, what: &'static str, figures: [i64; 4]) {
        for byte in what.bytes() {
            self.mix(u64::from(byte));
        }
        for figure in figures {
            self.mix(figure.cast_unsigned());
        }
        if self.last.len() == KEPT {
            self.last.pop_front();
        }
        self.last.push_back(Happening {
            step: self.step,
            what,
            figures,
        });
    }

    pub(super) const fn hash(&self) -> u64 {
        self.hash
    }

    const fn mix(&mut self, word: u64) {
        self.hash = (self.hash ^ word).wrapping_mul(0x0000_0100_0000_01b3);
        self.hash = self.hash.rotate_left(17);
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for happening in &self.last {
            let Happening {
                step,
                what,
                figures,
            } = happening;
            writeln!(f, "  step {step}: {what} {figures:?}")?;
        }
        Ok(())
    }
}
