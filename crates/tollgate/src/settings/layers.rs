//! The layers of settings, each value with its place, until a section is asked for.
//!
//! Every value is tried on its own against the section that it is meant for. So one mistake does
//! not hide another, and each is told with the place of its own value.

use std::path::Path;

use serde::de::DeserializeOwned;
use toml::de::DeTable;
use toml::{Table, Value};

use super::environment::setting_of;
use super::mistake::{Mistake, Mistakes, Place, reason};

/// The sections that there are.
const SECTIONS: [&str; 7] = [
    "gateway",
    "admin",
    "store",
    "app",
    "vault",
    "providers",
    "log",
];

/// Settings of the program that stand beside those of a crate, in the crate's section.
const BESIDE: [(&str, &str); 1] = [("gateway", "listen")];

/// Settings of crates that mean nothing good when they are 0.
const NOT_ZERO: [(&str, &str); 14] = [
    ("gateway", "body_bytes_max"),
    ("gateway", "head_seconds"),
    ("gateway", "body_seconds"),
    ("gateway", "upload_bytes_max"),
    ("gateway", "upload_idle_seconds"),
    ("gateway", "upload_seconds"),
    ("gateway", "write_seconds"),
    ("gateway", "connect_seconds"),
    ("gateway", "first_byte_seconds"),
    ("gateway", "idle_seconds"),
    ("gateway", "total_seconds"),
    ("app", "journal_bytes_max"),
    ("app", "ledger_batch_rows"),
    ("app", "ledger_backlog_rows_max"),
];

/// All that was said so far, the weakest first.
#[derive(Debug, Default)]
pub(super) struct Layers {
    values: Vec<Said>,
    mistakes: Vec<Mistake>,
}

/// A value that was said somewhere.
#[derive(Debug)]
struct Said {
    section: String,
    name: String,
    /// What it may mean; a text of the environment may be a number, a list or a text.
    readings: Vec<Value>,
    place: Place,
}

impl Layers {
    /// Takes a file in; what is not TOML is a mistake, and then nothing of the file counts.
    pub(super) fn add_file(&mut self, path: &Path, text: &str) {
        let place = |offset: usize| Place::File {
            path: path.to_owned(),
            line: line_at(text, offset),
        };
        let (spans, errors) = DeTable::parse_recoverable(text);
        for error in &errors {
            let place = place(error.span().map_or(0, |span| span.start));
            let reason = format!("this is not TOML: {}", error.message());
            self.mistakes.push(Mistake { place, reason });
        }
        let Ok(table) = text.parse::<Table>() else {
            return;
        };
        for (section, value) in table {
            let (at, inner) = find(spans.get_ref(), &section);
            let Value::Table(values) = value else {
                self.add("", &section, vec![value], place(at));
                continue;
            };
            if !SECTIONS.contains(&section.as_str()) {
                self.no_such_section(&section, place(at));
                continue;
            }
            for (name, value) in values {
                let at = inner.map_or(at, |inner| find(inner, &name).0);
                self.add(&section, &name, vec![value], place(at));
            }
        }
    }

    /// Takes the variables of the environment in.
    pub(super) fn add_environment(&mut self, variables: Vec<(String, String)>) {
        for (variable, value) in variables {
            let (section, name) = setting_of(&variable);
            self.add(
                &section,
                &name,
                readings_of(value),
                Place::Variable(variable),
            );
        }
    }

    /// Takes a flag in, if it was given.
    pub(super) fn add_flag(
        &mut self,
        flag: &'static str,
        section: &str,
        name: &str,
        value: Option<String>,
    ) {
        if let Some(value) = value {
            self.add(section, name, vec![Value::String(value)], Place::Flag(flag));
        }
    }

    fn add(&mut self, section: &str, name: &str, readings: Vec<Value>, place: Place) {
        if section.is_empty() && SECTIONS.contains(&name) {
            let reason = format!("`{name}` is a section: write [{name}] and settings below it");
            return self.mistakes.push(Mistake { place, reason });
        }
        if !section.is_empty() && !SECTIONS.contains(&section) {
            return self.no_such_section(section, place);
        }
        self.values.push(Said {
            section: section.to_owned(),
            name: name.to_owned(),
            readings,
            place,
        });
    }

    fn no_such_section(&mut self, section: &str, place: Place) {
        let known = SECTIONS.join(", ");
        let reason = format!("there is no section [{section}]; there are: {known}");
        self.mistakes.push(Mistake { place, reason });
    }

    /// The program's own settings of a section.
    pub(super) fn own<T: DeserializeOwned + Default>(&mut self, section: &str) -> T {
        let shared: Vec<&str> = beside(section).collect();
        self.read(section, |name| shared.is_empty() || shared.contains(&name))
    }

    /// The settings of a section that are a crate's.
    pub(super) fn of_crate<T: DeserializeOwned + Default>(&mut self, section: &str) -> T {
        self.read(section, |name| !BESIDE.contains(&(section, name)))
    }

    fn read<T: DeserializeOwned + Default>(
        &mut self,
        section: &str,
        is_meant: impl Fn(&str) -> bool,
    ) -> T {
        let others: Vec<&str> = beside(section).collect();
        let mut merged = Table::new();
        let of_section = self.values.iter().filter(|said| said.section == section);
        for said in of_section.filter(|said| is_meant(&said.name)) {
            match said.fits::<T>() {
                Ok(value) => {
                    merged.insert(said.name.clone(), value.clone());
                }
                Err(message) => {
                    let dot = if section.is_empty() { "" } else { "." };
                    let reason = reason(section, &others, &message);
                    let reason = format!("{section}{dot}{}: {reason}", said.name);
                    self.mistakes.push(Mistake {
                        place: said.place.clone(),
                        reason,
                    });
                }
            }
        }
        // Each value was read on its own already, so together they are readable too.
        merged.try_into().unwrap_or_default()
    }

    /// Says against a setting what only shows beside others, at the place that decided it.
    pub(super) fn refuse(&mut self, section: &str, name: &str, reason: &str) {
        let mut said = self.values.iter().rev();
        if let Some(said) = said.find(|said| said.section == section && said.name == name) {
            self.mistakes.push(Mistake {
                place: said.place.clone(),
                reason: format!("{section}.{name}: {reason}"),
            });
        }
    }

    /// Where each setting was said, the place that decides it last.
    pub(super) fn said(&self) -> Vec<(String, Place)> {
        let named = self.values.iter().map(|said| {
            let dot = if said.section.is_empty() { "" } else { "." };
            (
                format!("{}{dot}{}", said.section, said.name),
                said.place.clone(),
            )
        });
        named.collect()
    }

    /// The end: every mistake there was.
    pub(super) fn finish(mut self) -> Result<(), Mistakes> {
        self.mistakes
            .sort_by(|one, other| one.place.cmp(&other.place));
        if self.mistakes.is_empty() {
            Ok(())
        } else {
            Err(Mistakes(self.mistakes))
        }
    }
}

impl Said {
    fn is_zero(&self, value: &Value) -> bool {
        let setting = (self.section.as_str(), self.name.as_str());
        value.as_integer() == Some(0) && NOT_ZERO.contains(&setting)
    }

    /// The first reading that the section takes, else what it says against the first.
    fn fits<T: DeserializeOwned>(&self) -> Result<&Value, String> {
        let mut refused = None;
        for value in &self.readings {
            let alone = Table::from_iter([(self.name.clone(), value.clone())]);
            match alone.try_into::<T>() {
                Ok(_) if self.is_zero(value) => return Err("give at least 1".to_owned()),
                Ok(_) => return Ok(value),
                Err(error) => {
                    refused.get_or_insert_with(|| error.message().to_owned());
                }
            }
        }
        Err(refused.unwrap_or_default())
    }
}

/// What a text of the environment may mean: a TOML value, a text, a list of texts.
fn readings_of(text: String) -> Vec<Value> {
    let mut readings = Vec::new();
    if let Ok(mut table) = format!("value = {text}").parse::<Table>()
        && table.len() == 1
        && let Some(value) = table.remove("value")
    {
        readings.push(value);
    }
    let parts = text
        .split(',')
        .map(|part| Value::String(part.trim().to_owned()))
        .collect();
    readings.push(Value::String(text));
    readings.push(Value::Array(parts));
    readings
}

/// Where a key stands in a table, and the table below it, if its value is one.
fn find<'t, 'i>(table: &'t DeTable<'i>, name: &str) -> (usize, Option<&'t DeTable<'i>>) {
    let found = table.iter().find(|(key, _)| key.get_ref().as_ref() == name);
    found.map_or((0, None), |(key, value)| {
        (key.span().start, value.get_ref().as_table())
    })
}

fn beside(section: &str) -> impl Iterator<Item = &'static str> {
    BESIDE
        .iter()
        .filter(move |(of, _)| *of == section)
        .map(|(_, name)| *name)
}

fn line_at(text: &str, offset: usize) -> usize {
    let before = text.bytes().take(offset);
    before
        .filter(|byte| *byte == b'\n')
        .count()
        .saturating_add(1)
}
