//! Forms of several parts (`multipart/form-data`), looked at while their bytes pass.
//!
//! Nothing is changed and no file is kept: a scanner is fed pieces cut anywhere, and takes note of
//! the few fields that decide about a call. It is strict, because the provider reads the same bytes
//! with another reader: wherever two readers could see different fields, the form is refused. So
//! the boundary stands between line breaks of CR and LF and nowhere else, a part's head says its
//! name once and without escapes, and nothing stands before the first boundary or after the last.

mod boundary;
mod form;
mod part;

use memchr::memmem::Finder;

use crate::request::RequestError;
use form::{DECIDING, Kind, Value};
use part::Part;

pub use boundary::Boundary;
pub use form::Form;

/// The most parts of a form.
const PARTS_MAX: u32 = 256;

/// The longest head of a part, in bytes.
const HEAD_MAX: usize = 8 << 10;

/// The longest field that is not a file, in bytes.
const FIELD_MAX: u64 = 1 << 20;

/// The longest value of a field that decides, in bytes.
const VALUE_MAX: usize = 512;

/// What may stand after the last boundary: nothing, a line break, or two as some clients write it.
const END: &[u8] = b"\r\n\r\n";

/// Looks at a form while it passes.
#[derive(Debug)]
pub struct Scanner {
    /// Two hyphens and the boundary.
    delimiter: Finder<'static>,
    /// Bytes that were looked at and are done with.
    at: u64,
    state: State,
    /// Bytes that cannot be judged before more have come; fewer than a part's head may have.
    rest: Vec<u8>,
    form: Form,
}

#[derive(Debug)]
enum State {
    /// Before the first boundary.
    Opening,
    /// After a boundary: a line break, or two hyphens after the last.
    Delimited,
    /// In a part's head.
    Head,
    /// In what a part holds.
    Data(Holding),
    /// After the last boundary.
    Closed,
}

/// The part that is being read.
#[derive(Debug)]
struct Holding {
    kind: Kind,
    /// Where its data begins.
    from: u64,
    /// The two bytes before [`Scanner::at`], where they belong to the part.
    last_two: [u8; 2],
    value: Vec<u8>,
}

const BAD_OPENING: RequestError =
    RequestError::Form("it does not begin with its boundary, as the content-type says it");
const BAD_DELIMITER: RequestError = RequestError::Form(
    "its boundary does not stand between line breaks of CR and LF: choose one that is not in the \
     data",
);
const CUT: RequestError = RequestError::Form("it ends before its last boundary");
const TRAILING: RequestError = RequestError::Form("something stands after its last boundary");
const LONG_HEAD: RequestError =
    RequestError::Form("a part's head is longer than 8 KiB, or has no empty line after it");
const MANY_PARTS: RequestError = RequestError::Form("it has more than 256 parts");
const LONG_FIELD: RequestError =
    RequestError::Form("a field that is not a file is longer than 1 MiB: give it a file's name");

impl Scanner {
    /// Begins before a form's first byte.
    #[must_use]
    pub fn new(boundary: &Boundary) -> Self {
        Self {
            delimiter: Finder::new(boundary.delimiter()).into_owned(),
            at: 0,
            state: State::Opening,
            rest: Vec::new(),
            form: Form::default(),
        }
    }

    /// What was found so far.
    #[must_use]
    pub const fn form(&self) -> &Form {
        &self.form
    }

    /// Looks at the next bytes. After an error the form is not to be read on.
    pub fn push(&mut self, piece: &[u8]) -> Result<(), RequestError> {
        let mut piece = piece;
        while !piece.is_empty() {
            piece = match &self.state {
                State::Data(_) => self.data(piece)?,
                State::Opening | State::Delimited | State::Head | State::Closed => {
                    self.gather(piece)?
                }
            };
        }
        Ok(())
    }

    /// Ends the form.
    pub fn finish(&self) -> Result<(), RequestError> {
        let whole = matches!(self.state, State::Closed) && self.rest.len().is_multiple_of(2);
        if whole { Ok(()) } else { Err(CUT) }
    }

    /// Takes as much of `piece` as the present step needs; gives back what is left of it.
    fn gather<'p>(&mut self, piece: &'p [u8]) -> Result<&'p [u8], RequestError> {
        let before = self.rest.len();
        let wanted = match self.state {
            State::Opening => self.delimiter.needle().len(),
            State::Delimited => 2,
            State::Closed => END.len(),
            State::Head | State::Data(_) => HEAD_MAX,
        };
        let room = wanted.saturating_sub(before).min(piece.len());
        self.rest
            .extend_from_slice(piece.get(..room).unwrap_or_default());
        let used = match self.state {
            State::Opening => self.opening()?,
            State::Delimited => self.delimited()?,
            State::Head => self.head(before)?,
            State::Closed | State::Data(_) => self.trailing()?,
        };
        let Some(used) = used else {
            // More is needed. Where all that there may be has come, `room` is nothing.
            return match piece.get(room..) {
                Some(left) if left.is_empty() => Ok(left),
                _ => Err(if matches!(self.state, State::Closed) {
                    TRAILING
                } else {
                    LONG_HEAD
                }),
            };
        };
        self.rest.clear();
        self.at = self.at.saturating_add(u64::try_from(used).unwrap_or(0));
        let taken = used.saturating_sub(before);
        Ok(piece.get(taken..).unwrap_or_default())
    }

    fn opening(&mut self) -> Result<Option<usize>, RequestError> {
        let delimiter = self.delimiter.needle();
        if !delimiter.starts_with(&self.rest) {
            return Err(BAD_OPENING);
        }
        if self.rest.len() < delimiter.len() {
            return Ok(None);
        }
        self.state = State::Delimited;
        Ok(Some(delimiter.len()))
    }

    fn delimited(&mut self) -> Result<Option<usize>, RequestError> {
        match self.rest.as_slice() {
            b"\r" | b"-" => return Ok(None),
            b"\r\n" => {
                self.form.parts = self.form.parts.saturating_add(1);
                if self.form.parts > PARTS_MAX {
                    return Err(MANY_PARTS);
                }
                self.state = State::Head;
            }
            b"--" => {
                self.form.is_closed = true;
                self.state = State::Closed;
            }
            _ => return Err(BAD_DELIMITER),
        }
        Ok(Some(2))
    }

    /// `before` bytes were looked at when they came.
    fn head(&mut self, before: usize) -> Result<Option<usize>, RequestError> {
        let from = before.saturating_sub(3);
        let new = self.rest.get(from..).unwrap_or_default();
        let Some(found) = memchr::memmem::find(new, b"\r\n\r\n") else {
            return Ok(None);
        };
        let end = from.saturating_add(found);
        let head = self.rest.get(..end).unwrap_or_default();
        if self.delimiter.find(head).is_some() {
            return Err(BAD_DELIMITER);
        }
        let part = Part::read(head)?;
        let kind = self.form.begin(&part)?;
        let used = end.saturating_add(4);
        let length = u64::try_from(used).unwrap_or(0);
        self.state = State::Data(Holding {
            kind,
            from: self.at.saturating_add(length),
            last_two: [0; 2],
            value: Vec::new(),
        });
        Ok(Some(used))
    }

    fn trailing(&mut self) -> Result<Option<usize>, RequestError> {
        if END.starts_with(&self.rest) {
            Ok(None)
        } else {
            Err(TRAILING)
        }
    }
}

// What a part holds.
impl Scanner {
    /// Looks for the delimiter in `rest` and `piece` together; gives back what is left of `piece`.
    fn data<'p>(&mut self, piece: &'p [u8]) -> Result<&'p [u8], RequestError> {
        let length = self.delimiter.needle().len();
        if self.rest.is_empty() {
            if let Some(found) = self.delimiter.find(piece) {
                self.pass(piece.get(..found).unwrap_or_default())?;
                return self.end_part(piece.get(found..).unwrap_or_default());
            }
            let kept = self.beginning(piece);
            let done = piece.len().saturating_sub(kept);
            self.pass(piece.get(..done).unwrap_or_default())?;
            self.rest
                .extend_from_slice(piece.get(done..).unwrap_or_default());
            return Ok(&[]);
        }
        // A delimiter may have begun at the end of the piece before: as much is put together as
        // shows whether it goes on.
        let before = self.rest.len();
        let room = length.saturating_sub(before).min(piece.len());
        let mut joined = std::mem::take(&mut self.rest);
        joined.extend_from_slice(piece.get(..room).unwrap_or_default());
        if joined == self.delimiter.needle() {
            let left = piece.get(room..).unwrap_or_default();
            return self.close_part().map(|()| left);
        }
        let kept = self.beginning(&joined);
        let done = joined.len().saturating_sub(kept);
        self.pass(joined.get(..done).unwrap_or_default())?;
        joined.drain(..done);
        self.rest = joined;
        Ok(piece.get(room..).unwrap_or_default())
    }

    /// How many bytes at the end of `bytes` may be the beginning of the delimiter, but not all.
    fn beginning(&self, bytes: &[u8]) -> usize {
        let delimiter = self.delimiter.needle();
        let most = delimiter.len().saturating_sub(1).min(bytes.len());
        let tail = bytes.len().saturating_sub(most);
        let tail = bytes.get(tail..).unwrap_or_default();
        let starts = memchr::memchr_iter(b'-', tail);
        let found = starts
            .filter_map(|at| tail.get(at..))
            .find(|rest| delimiter.starts_with(rest));
        found.map_or(0, <[u8]>::len)
    }

    /// The delimiter stands at the beginning of `piece`, whole.
    fn end_part<'p>(&mut self, piece: &'p [u8]) -> Result<&'p [u8], RequestError> {
        let length = self.delimiter.needle().len();
        self.close_part()?;
        Ok(piece.get(length..).unwrap_or_default())
    }

    /// Takes bytes that are no delimiter's.
    fn pass(&mut self, bytes: &[u8]) -> Result<(), RequestError> {
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        self.at = self.at.saturating_add(length);
        let State::Data(holding) = &mut self.state else {
            return Ok(());
        };
        match bytes {
            [] => {}
            [one] => holding.last_two = [holding.last_two[1], *one],
            [.., one, two] => holding.last_two = [*one, *two],
        }
        match holding.kind {
            Kind::File => self.form.file_bytes = self.form.file_bytes.saturating_add(length),
            Kind::Text | Kind::Deciding(_) => {
                self.form.text_bytes = self.form.text_bytes.saturating_add(length);
                if self.at.saturating_sub(holding.from) > FIELD_MAX.saturating_add(2) {
                    return Err(LONG_FIELD);
                }
            }
        }
        if let Kind::Deciding(at) = holding.kind {
            holding.value.extend_from_slice(bytes);
            if holding.value.len() > VALUE_MAX.saturating_add(2) {
                return Err(too_long(at));
            }
        }
        Ok(())
    }

    /// The delimiter has come: the part is over, without the line break before the delimiter.
    fn close_part(&mut self) -> Result<(), RequestError> {
        let length = u64::try_from(self.delimiter.needle().len()).unwrap_or(0);
        let ended = std::mem::replace(&mut self.state, State::Delimited);
        let State::Data(mut holding) = ended else {
            return Ok(());
        };
        let end = self.at.saturating_sub(2);
        if holding.last_two != *b"\r\n" || end < holding.from {
            return Err(BAD_DELIMITER);
        }
        self.at = self.at.saturating_add(length);
        if let Kind::Deciding(at) = holding.kind {
            let bytes = holding.value.len().saturating_sub(2);
            holding.value.truncate(bytes);
            let text = String::from_utf8(holding.value).map_err(|_not_text| too_long(at))?;
            let place = holding.from..end;
            if let Some(slot) = self.form.values.get_mut(at) {
                *slot = Some(Value {
                    text: text.into_boxed_str(),
                    place,
                });
            }
        }
        Ok(())
    }
}

fn too_long(at: usize) -> RequestError {
    RequestError::Wrong {
        param: DECIDING.get(at).copied().unwrap_or_default(),
        expected: "a text of at most 512 bytes",
    }
}

#[cfg(test)]
mod tests;
