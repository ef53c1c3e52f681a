//! The bundled list of model names and prices, as it stands in its file.
//!
//! The first line says which list it is and carries a hash of the rest, so that prices that were
//! changed by hand cannot go under the name of the list they were taken from. Each further line is
//! one model. `cargo run -p xtask -- gen` writes the file.

use cus_models::CusProviderType;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::Deserialize;

use super::{Rates, Tier};

/// The list that is compiled into the program.
const BUNDLED: &str = include_str!("../../prices/catalogue.jsonl");

/// A list of models and their prices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Catalogue {
    /// The name of the list, its version and a hash of its content.
    pub version: String,
    /// The day the list was published.
    pub dated: Date,
    /// The models, in the order of the list.
    pub models: Vec<CatalogueModel>,
    fallbacks: Vec<(CusProviderType, Vec<CusProviderType>)>,
}

/// A model with its names and its prices over time.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CatalogueModel {
    /// Who serves it.
    pub provider: CusProviderType,
    /// What the list calls it; not always a name that it can be called by.
    pub model: String,
    /// Names that are this model's, in lower case.
    #[serde(default)]
    pub equals: Vec<String>,
    /// Beginnings of names that are this model's.
    #[serde(default)]
    pub starts_with: Vec<String>,
    /// Ends of names that are this model's.
    #[serde(default)]
    pub ends_with: Vec<String>,
    /// Parts of names that are this model's.
    #[serde(default)]
    pub contains: Vec<String>,
    /// Tokens that fit into one request with its answer, where known.
    pub context_tokens: Option<u64>,
    /// Its prices, by rising day.
    pub prices: Vec<DatedRates>,
}

/// Prices from a day on.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatedRates {
    /// The first day, in UTC; none for what was always so.
    #[serde(default)]
    pub from: Option<Date>,
    /// The prices of an ordinary request.
    pub rates: Rates,
    /// Prices of long requests, by rising bound.
    #[serde(default)]
    pub tiers: Vec<Tier>,
}

/// Why a catalogue cannot be used. The bundled one always can: a test reads it.
#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    /// A line is missing or is not what the format says.
    #[error("line {line} of the price catalogue cannot be read ({reason}): generate it again")]
    Unreadable {
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// The content is not what the version was given for.
    #[error(
        "the price catalogue calls itself {version} but its content was changed: generate it again, \
         and set prices of your own as overrides"
    )]
    Altered {
        /// The version that the file names.
        version: String,
    },
    /// Two models claim the same name.
    #[error("the price catalogue gives `{name}` of {provider} to two models")]
    Ambiguous {
        /// Who serves it.
        provider: CusProviderType,
        /// The name.
        name: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    version: String,
    dated: Date,
    fallbacks: std::collections::BTreeMap<String, Vec<CusProviderType>>,
}

impl Catalogue {
    /// Reads the bundled list: a few milliseconds at most, so do it once.
    pub fn bundled() -> Result<Self, CatalogueError> {
        Self::parse(BUNDLED)
    }

    /// Reads a list; an error names the first line that is wrong.
    pub fn parse(text: &str) -> Result<Self, CatalogueError> {
        let unreadable = |line: usize, reason: &dyn ToString| CatalogueError::Unreadable {
            line,
            reason: reason.to_string(),
        };
        let (first, rest) = text.split_once('\n').unwrap_or((text, ""));
        let head: Head = serde_json::from_str(first).map_err(|error| unreadable(1, &error))?;
        let named = head.version.rsplit_once('+').map(|(_, hash)| hash);
        if named != Some(format!("{:016x}", content_hash(rest.as_bytes())).as_str()) {
            return Err(CatalogueError::Altered {
                version: head.version,
            });
        }
        let mut models = Vec::new();
        for (line, text) in (2..).zip(rest.lines()) {
            let model: CatalogueModel =
                serde_json::from_str(text).map_err(|error| unreadable(line, &error))?;
            model.check().map_err(|reason| unreadable(line, &reason))?;
            models.push(model);
        }
        let fallbacks = head.fallbacks.into_iter().map(|(provider, others)| {
            provider
                .parse()
                .map(|provider| (provider, others))
                .map_err(|error| unreadable(1, &error))
        });
        let fallbacks = fallbacks.collect::<Result<_, _>>()?;
        Ok(Self {
            version: head.version,
            dated: head.dated,
            models,
            fallbacks,
        })
    }

    /// Whose models a provider also serves, at their prices when it lists none of its own.
    #[must_use]
    pub fn fallbacks(&self, provider: CusProviderType) -> &[CusProviderType] {
        self.fallbacks
            .iter()
            .find(|(of, _)| *of == provider)
            .map_or(&[], |(_, others)| others.as_slice())
    }
}

impl CatalogueModel {
    fn check(&self) -> Result<(), &'static str> {
        let mut last = None;
        for (era, index) in self.prices.iter().zip(0_u32..) {
            if era.from.is_some() == (index == 0) || era.from < last {
                return Err("prices are not in the order of their days");
            }
            last = era.from;
            let bounds = era.tiers.iter().map(|tier| tier.above_input_tokens);
            if !bounds.is_sorted() {
                return Err("tiers are not in the order of their bounds");
            }
            let mut all = era.tiers.iter().map(|tier| &tier.rates).chain([&era.rates]);
            if all.any(is_negative) {
                return Err("a price is negative");
            }
        }
        if self.prices.is_empty() {
            return Err("there is no price");
        }
        Ok(())
    }
}

impl DatedRates {
    /// The moment from which the prices apply: midnight UTC of their first day.
    pub(super) fn since(&self) -> Timestamp {
        self.from
            .and_then(|day| day.to_zoned(TimeZone::UTC).ok())
            .map_or(Timestamp::MIN, |midnight| midnight.timestamp())
    }
}

/// Whether any of the prices is below nothing.
pub(super) fn is_negative(rates: &Rates) -> bool {
    rates.each().into_iter().flatten().any(|price| price < 0)
}

/// FNV-1a of 64 bits: tells one list from another, and is no protection.
fn content_hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::{Catalogue, CatalogueError, content_hash};

    fn parse(lines: &str) -> Result<Catalogue, CatalogueError> {
        let hash = content_hash(lines.as_bytes());
        let head =
            format!(r#"{{"version":"test-1+{hash:016x}","dated":"2026-01-01","fallbacks":{{}}}}"#);
        Catalogue::parse(&format!("{head}\n{lines}"))
    }

    #[test]
    fn a_price_that_was_changed_by_hand_is_noticed() {
        let altered = super::BUNDLED.replacen("150000000", "150000001", 1);
        assert_ne!(altered, super::BUNDLED);
        let error = Catalogue::parse(&altered).unwrap_err();
        assert!(matches!(error, CatalogueError::Altered { .. }), "{error}");
    }

    #[test]
    fn a_wrong_line_is_named() {
        let good = r#"{"provider":"openai","model":"a","equals":["a"],"prices":[{"rates":{"input":1,"output":2}}]}"#;
        assert_eq!(parse(good).unwrap().models.len(), 1);
        let wrong = [
            good.replace("\"input\":1", "\"input\":-1"),
            good.replace("\"input\":1", "\"inputs\":1"),
            good.replace("\"input\":1", "\"input\":1.5"),
            good.replace("openai", "nobody"),
            good.replace(r#"[{"rates""#, r#"[{"from":"2026-01-01","rates""#),
            good.replace(r#"[{"rates":{"input":1,"output":2}}]"#, "[]"),
        ];
        for line in wrong {
            let error = parse(&format!("{good}\n{line}")).unwrap_err();
            assert!(
                matches!(error, CatalogueError::Unreadable { line: 3, .. }),
                "{line}: {error}"
            );
        }
    }

    #[test]
    fn an_empty_file_is_an_error() {
        assert!(matches!(
            Catalogue::parse(""),
            Err(CatalogueError::Unreadable { line: 1, .. })
        ));
    }
}
