//! The price catalogue of `tollgate-core`, made from the price list of the `genai-prices` crate.
//!
//! Prices become whole nano-dollars per million tokens. What cannot be carried over exactly is
//! named in the output; what cannot be understood stops the generation.

mod rates;
mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Serialize;

use self::rates::{Dated, dated, unpriceable};
use self::source::CRATE;
pub use self::source::{Source, source, source_at};
use super::upstream::{Clause, Model, Seller};

/// The versions of the crate that this generator was checked with, and the day each was released.
const RELEASES: [(&str, &str); 1] = [("0.2.1", "2026-10-30")];

/// The sellers that are taken over, by their name there and ours.
const SELLERS: [(&str, &str); 4] = [
    ("openai", "openai"),
    ("anthropic", "anthropic"),
    ("azure", "azure_openai"),
    ("aws", "bedrock"),
];

/// Where the catalogue is, below the root of the workspace.
pub const CATALOGUE: &str = "crates/core/prices/catalogue.jsonl";

/// A catalogue as text, and what there is to say about it.
#[derive(Debug)]
pub struct Generated {
    /// The whole file.
    pub text: String,
    /// What was rounded, folded or left out, one line each.
    pub notes: Vec<String>,
}

#[derive(Serialize)]
struct Head<'a> {
    version: String,
    dated: &'a str,
    fallbacks: BTreeMap<&'a str, Vec<&'a str>>,
}

#[derive(Serialize)]
struct Line<'a> {
    provider: &'a str,
    model: &'a str,
    #[serde(flatten)]
    names: Names,
    #[serde(skip_serializing_if = "Option::is_none")]
    context_tokens: Option<u64>,
    prices: Vec<Dated>,
}

/// Which names are the model's: any of these.
#[derive(Default, Serialize)]
struct Names {
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    equals: BTreeSet<String>,
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    starts_with: BTreeSet<String>,
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    ends_with: BTreeSet<String>,
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    contains: BTreeSet<String>,
}

/// Writes the catalogue below `root`, and returns what was written and what was left out.
///
/// # Errors
/// Says which file could not be read or written, or which price could not be understood.
pub fn write(root: &Path, source: &Source) -> Result<Vec<String>, String> {
    let generated = generate(source)?;
    let path = root.join(CATALOGUE);
    std::fs::write(&path, generated.text).map_err(|error| format!("{CATALOGUE}: {error}"))?;
    Ok(generated
        .notes
        .into_iter()
        .chain([CATALOGUE.to_owned()])
        .collect())
}

/// Makes the catalogue in memory.
///
/// # Errors
/// Says which price or which rule for names could not be understood.
pub fn generate(source: &Source) -> Result<Generated, String> {
    let text = std::fs::read_to_string(&source.path)
        .map_err(|error| format!("{}: {error}", source.path.display()))?;
    let sellers: Vec<Seller<'_>> =
        serde_json::from_str(&text).map_err(|error| format!("the price list: {error}"))?;
    let (_, dated) = RELEASES
        .iter()
        .find(|(version, _)| *version == source.version)
        .ok_or_else(|| {
            format!(
                "{CRATE} {} is new: add it to RELEASES with its day",
                source.version
            )
        })?;
    let mut notes = Vec::new();
    let mut lines = String::new();
    let mut fallbacks = BTreeMap::new();
    for (theirs, ours) in SELLERS {
        let seller = sellers.iter().find(|seller| seller.id == theirs);
        let seller = seller.ok_or_else(|| format!("the price list has no `{theirs}` any more"))?;
        let kept = seller
            .fallback_model_providers
            .iter()
            .filter_map(|id| our_name(id));
        let kept: Vec<&str> = kept.collect();
        if !kept.is_empty() {
            fallbacks.insert(ours, kept);
        }
        for model in &seller.models {
            if let Some(line) = line(ours, model, &mut notes)? {
                lines.push_str(&json(&line)?);
                lines.push('\n');
            }
        }
    }
    let version = format!(
        "{CRATE}-{}+{:016x}",
        source.version,
        content_hash(lines.as_bytes())
    );
    let head = json(&Head {
        version,
        dated,
        fallbacks,
    })?;
    Ok(Generated {
        text: format!("{head}\n{lines}"),
        notes,
    })
}

fn json(value: &impl Serialize) -> Result<String, String> {
    serde_json::to_string(value).map_err(|error| error.to_string())
}

fn our_name(theirs: &str) -> Option<&'static str> {
    SELLERS
        .iter()
        .find(|(id, _)| *id == theirs)
        .map(|(_, ours)| *ours)
}

/// FNV-1a of 64 bits: tells one catalogue from another, and is no protection.
fn content_hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// The line of a model; none for a model that cannot be priced by tokens.
fn line<'a>(
    provider: &'a str,
    model: &'a Model<'_>,
    notes: &mut Vec<String>,
) -> Result<Option<Line<'a>>, String> {
    let named = |what: String| format!("{provider} {}: {what}", model.id);
    let mut rules = Names::default();
    gather(&model.clause, &mut rules).map_err(named)?;
    let mut prices: Vec<Dated> = Vec::new();
    for era in model.eras()? {
        if let Some(why) = unpriceable(&era.prices, &model.id).map_err(named)? {
            notes.push(named(format!("left out: {why}")));
            return Ok(None);
        }
        let dated = dated(&era, &mut |note| notes.push(named(note))).map_err(named)?;
        let in_order = prices
            .last()
            .map_or(dated.from.is_none(), |last| last.from < dated.from);
        if !in_order {
            return Err(named(
                "prices are not in the order of their days".to_owned(),
            ));
        }
        prices.push(dated);
    }
    let context_tokens = model.context_window;
    Ok(Some(Line {
        provider,
        model: &model.id,
        names: rules,
        context_tokens,
        prices,
    }))
}

/// Collects the names of a clause.
fn gather(clause: &Clause, names: &mut Names) -> Result<(), String> {
    let (set, name) = match clause {
        Clause::Or(clauses) => return clauses.iter().try_for_each(|one| gather(one, names)),
        Clause::And(_) => return Err("`and` between names is not known here".to_owned()),
        Clause::Regex(pattern) => {
            names.equals.insert(undated(pattern)?);
            return Ok(());
        }
        Clause::Equals(name) => (&mut names.equals, name),
        Clause::StartsWith(name) => (&mut names.starts_with, name),
        Clause::EndsWith(name) => (&mut names.ends_with, name),
        Clause::Contains(name) => (&mut names.contains, name),
    };
    set.insert(name.to_ascii_lowercase());
    Ok(())
}

/// The name in a pattern for "this name and a date": the book prices a dated name as the name.
fn undated(pattern: &str) -> Result<String, String> {
    let dates = [r"[-@]\d{8}$", r"-\d{8}$", r"-\d{4}-\d{2}-\d{2}$"];
    let name = pattern
        .strip_prefix('^')
        .and_then(|rest| dates.iter().find_map(|date| rest.strip_suffix(date)))
        .map(|name| name.replace(r"\.", "."))
        .filter(|name| {
            !name.contains(['\\', '^', '$', '*', '+', '?', '(', ')', '[', ']', '{', '|'])
        });
    // A dot that was not escaped stands for any character.
    let dots = pattern.matches('.').count() == pattern.matches(r"\.").count();
    name.filter(|_| dots)
        .ok_or_else(|| format!("the pattern `{pattern}` is not a name and a date"))
}

#[cfg(test)]
mod tests;
