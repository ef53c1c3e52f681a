//! How the names of models are read: case, snapshots, regions, and where a name may be cut.

use std::borrow::Cow;

use cus_models::CusProviderType;
use jiff::civil::Date;

/// What Bedrock puts in front of a model that it serves across regions.
const REGIONS: [&str; 15] = [
    "us", "us-gov", "eu", "apac", "jp", "au", "in", "ca", "sa", "me", "af", "il", "mx", "kr",
    "global",
];

/// Where in a name a rule's text has to stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Start,
    End,
    Within,
}

/// A name in lower case; names of models are ASCII, and case in them says nothing.
pub(in crate::price) fn folded(name: &str) -> Cow<'_, str> {
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(name.to_ascii_lowercase())
    } else {
        Cow::Borrowed(name)
    }
}

/// A name in lower case and what is left of it without what says nothing about its price: at
/// Bedrock the path, the region and the revision; everywhere the date of a snapshot and `latest`.
pub(in crate::price) fn forms(provider: CusProviderType, name: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(name), move |name| {
        let at_bedrock = (provider == CusProviderType::Bedrock)
            .then(|| {
                without_path(name)
                    .or_else(|| without_region(name))
                    .or_else(|| without_revision(name))
            })
            .flatten();
        at_bedrock
            .or_else(|| without_snapshot(name))
            .filter(|shorter| !shorter.is_empty())
    })
}

/// Whether a rule's text stands in a name at its place, and is not cut out of longer words: a text
/// that ends in `4` is not in `4o`, and `4-1` is not in `4-15`.
pub(super) fn fits(name: &str, text: &str, place: Place) -> bool {
    match place {
        Place::Start => name
            .strip_prefix(text)
            .is_some_and(|after| closes(text, after)),
        Place::End => name
            .strip_suffix(text)
            .is_some_and(|before| opens(before, text)),
        Place::Within => name.match_indices(text).any(|(at, found)| {
            let rest = name.split_at_checked(at);
            rest.is_some_and(|(before, rest)| {
                let after = rest.strip_prefix(found).unwrap_or_default();
                opens(before, text) && closes(text, after)
            })
        }),
    }
}

/// A name that ends in `-2024-08-06` with `-20240806` instead.
pub(super) fn with_compact_date(name: &str) -> Option<String> {
    let family = without_dashed_date(name)?;
    let date = name.strip_prefix(family)?.replace('-', "");
    Some(format!("{family}-{date}"))
}

fn opens(before: &str, text: &str) -> bool {
    !before.ends_with(is_word) || !text.starts_with(is_word)
}

fn closes(text: &str, after: &str) -> bool {
    !after.starts_with(is_word) || !text.ends_with(is_word) || splits_a_date(text, after)
}

fn is_word(letter: char) -> bool {
    letter.is_alphanumeric()
}

/// Whether the cut between two texts lies in a date, as in `claude-sonnet-4-2025` and `0514` or
/// `ft:gpt-4-0` and `613`. A text that ends so stands for every date that begins so.
fn splits_a_date(text: &str, after: &str) -> bool {
    let is_digit = |letter: char| letter.is_ascii_digit();
    let begun = text
        .strip_prefix(text.trim_end_matches(is_digit))
        .unwrap_or_default();
    let rest = after.trim_start_matches(is_digit);
    let ended = after.strip_suffix(rest).unwrap_or_default();
    let date = format!("{begun}{ended}");
    let whole = match date.len() {
        8 => begun.len() >= 4 && is_compact_date(&date),
        4 => begun.starts_with('0') && is_compact_date(&format!("2000{date}")),
        _ => false,
    };
    whole && !rest.starts_with(is_word)
}

fn without_snapshot(name: &str) -> Option<&str> {
    name.strip_suffix("-latest")
        .or_else(|| name.strip_suffix("@latest"))
        .or_else(|| without_dashed_date(name))
        .or_else(|| without_compact_date(name))
}

/// A name without its `-2024-08-06`.
fn without_dashed_date(name: &str) -> Option<&str> {
    let (family, end) = name.split_at_checked(name.len().checked_sub("-2024-08-06".len())?)?;
    let date = end.strip_prefix(['-', '@'])?;
    let dashed = date.bytes().zip(0..).all(|(byte, place)| match place {
        4 | 7 => byte == b'-',
        _ => byte.is_ascii_digit(),
    });
    (dashed && is_compact_date(&date.replace('-', ""))).then_some(family)
}

/// A name without its `-20240806` or `@20240806`.
fn without_compact_date(name: &str) -> Option<&str> {
    let (family, end) = name.split_at_checked(name.len().checked_sub("-20240806".len())?)?;
    let date = end.strip_prefix(['-', '@'])?;
    is_compact_date(date).then_some(family)
}

/// Whether eight digits are a day of this century.
fn is_compact_date(text: &str) -> bool {
    if text.len() != 8 || !text.starts_with("20") || !text.bytes().all(|byte| byte.is_ascii_digit())
    {
        return false;
    }
    let year = text.get(..4).and_then(|year| year.parse().ok());
    let month = text.get(4..6).and_then(|month| month.parse().ok());
    let day = text.get(6..).and_then(|day| day.parse().ok());
    year.zip(month)
        .zip(day)
        .is_some_and(|((year, month), day)| Date::new(year, month, day).is_ok())
}

/// The model at the end of a resource name such as `arn:aws:bedrock:…:foundation-model/…`.
fn without_path(name: &str) -> Option<&str> {
    name.strip_prefix("arn:")
        .and_then(|path| path.rsplit_once('/'))
        .map(|(_, model)| model)
}

fn without_region(name: &str) -> Option<&str> {
    let (region, model) = name.split_once('.')?;
    REGIONS.contains(&region).then_some(model)
}

/// A name without one of its `:0`, `:48k` or `-v1`.
fn without_revision(name: &str) -> Option<&str> {
    let numeric = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let size = |text: &str| numeric(text.strip_suffix('k').unwrap_or(text));
    let (model, end) = name.rsplit_once([':', '-'])?;
    let separator = name.strip_prefix(model)?;
    let is_revision = if separator.starts_with(':') {
        size(end)
    } else {
        end.strip_prefix('v').is_some_and(numeric)
    };
    is_revision.then_some(model)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shortest(provider: CusProviderType, name: &str) -> &str {
        forms(provider, name).last().unwrap()
    }

    #[test]
    fn a_snapshot_is_its_family() {
        for name in [
            "m",
            "m-2024-08-06",
            "m-20240806",
            "m@20240806",
            "m@2024-08-06",
            "m-latest",
            "m@latest",
        ] {
            assert_eq!(shortest(CusProviderType::OpenAi, name), "m");
        }
        for name in [
            "m-2024-13-06",
            "m-20240231",
            "m-19990101",
            "m-0613",
            "m-202408066",
            "m20240806",
            "m-preview",
            "m:0",
            "m-v1",
            "us.m",
            "m-2024-08",
            "-20240806",
            "é-20240806é",
        ] {
            assert_eq!(shortest(CusProviderType::OpenAi, name), name);
        }
    }

    #[test]
    fn at_bedrock_region_path_and_revision_say_nothing() {
        for name in [
            "anthropic.m",
            "us.anthropic.m",
            "us-gov.anthropic.m-v1:0",
            "anthropic.m-20250929-v1:0",
            "anthropic.m-v1:0:48k",
            "arn:aws:bedrock:us-east-1:123456789012:inference-profile/eu.anthropic.m-20250929-v2:0",
        ] {
            assert_eq!(
                shortest(CusProviderType::Bedrock, name),
                "anthropic.m",
                "{name}"
            );
        }
    }

    #[test]
    fn a_text_is_not_cut_out_of_a_longer_word() {
        let cases = [
            ("gpt-4o", "gpt-4", Place::Start, false),
            ("gpt-4", "gpt-4", Place::Start, true),
            ("claude-opus-4-15", "claude-opus-4-1", Place::Start, false),
            (
                "claude-opus-4-1-20250805",
                "claude-opus-4-1",
                Place::Start,
                true,
            ),
            ("claude-opus-4-1020", "claude-opus-4-1", Place::Start, false),
            (
                "claude-sonnet-4-20250514",
                "claude-sonnet-4-2025",
                Place::Start,
                true,
            ),
            (
                "claude-sonnet-4-20251",
                "claude-sonnet-4-2025",
                Place::Start,
                false,
            ),
            (
                "claude-sonnet-4-20251301",
                "claude-sonnet-4-2025",
                Place::Start,
                false,
            ),
            (
                "claude-sonnet-4-20250514x",
                "claude-sonnet-4-2025",
                Place::Start,
                false,
            ),
            ("ft:gpt-4-0613:acme", "ft:gpt-4-0", Place::Start, true),
            ("ft:gpt-4-01", "ft:gpt-4-0", Place::Start, false),
            ("gpt-5-nano-x", "gpt-5-nano-", Place::Start, true),
            ("us.anthropic.m-1", "us.anthropic.m", Place::Within, true),
            ("aus.anthropic.m-1", "us.anthropic.m", Place::Within, false),
            ("us.anthropic.m1", "us.anthropic.m", Place::Within, false),
            ("xx-m-xm m", "m", Place::Within, true),
            ("eu.amazon.titan", "amazon.titan", Place::End, true),
            ("euamazon.titan", "amazon.titan", Place::End, false),
        ];
        for (name, text, place, expected) in cases {
            assert_eq!(fits(name, text, place), expected, "{text} in {name}");
        }
    }
}
