//! How numbers and dates are read from JSON. (Writing them needs nothing of our own.)

use std::fmt;

use jiff::civil::Date;
use serde::de::{Deserialize, Deserializer, Error, Unexpected, Visitor};

/// Reads a whole number: `7`, and as the original does also `7.0` and `"7"`.
pub(crate) fn whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    deserializer.deserialize_any(Whole)
}

/// Reads a whole number as [`whole`] does, or `null`.
pub(crate) fn optional_whole<'de, D>(deserializer: D) -> Result<Option<i64>, D::Error>
where
    D: Deserializer<'de>,
{
    struct Number(i64);

    impl<'de> Deserialize<'de> for Number {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            whole(deserializer).map(Self)
        }
    }

    Ok(Option::<Number>::deserialize(deserializer)?.map(|number| number.0))
}

/// Reads a date written `YYYY-MM-DD` and nothing else.
pub(crate) fn date<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Date, D::Error> {
    deserializer.deserialize_str(Day)
}

struct Whole;

impl Visitor<'_> for Whole {
    type Value = i64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number from 0 to 9007199254740991")
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<i64, E> {
        Ok(number)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<i64, E> {
        match i64::try_from(number) {
            Ok(number) => Ok(number),
            Err(_) => Err(E::invalid_value(Unexpected::Unsigned(number), &self)),
        }
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<i64, E> {
        // By way of its text: exact, and a number past 64 bits is an error instead of a near value.
        match format!("{number}").parse() {
            Ok(whole) => Ok(whole),
            Err(_) => Err(E::invalid_value(Unexpected::Float(number), &self)),
        }
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<i64, E> {
        match text.parse() {
            // The parser also takes a plus sign.
            Ok(number) if !text.starts_with('+') => Ok(number),
            _ => Err(E::invalid_value(Unexpected::Other("text"), &self)),
        }
    }
}

struct Day;

impl Visitor<'_> for Day {
    type Value = Date;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a date as YYYY-MM-DD")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Date, E> {
        // Written back and compared, because the parser also takes a time, other separators and week numbers.
        match text.parse::<Date>() {
            Ok(date) if date.to_string() == text => Ok(date),
            _ => Err(E::invalid_value(Unexpected::Other("text"), &self)),
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::{Date, date};
    use serde::Deserialize;

    #[derive(Debug, PartialEq, Deserialize)]
    struct Row {
        #[serde(deserialize_with = "super::whole")]
        count: i64,
        #[serde(default, deserialize_with = "super::optional_whole")]
        latency: Option<i64>,
        #[serde(deserialize_with = "super::date")]
        day: Date,
    }

    fn read(count: &str, latency: &str, day: &str) -> Result<Row, serde_json::Error> {
        serde_json::from_str(&format!(
            r#"{{"count":{count},"latency":{latency},"day":{day}}}"#
        ))
    }

    #[test]
    fn a_whole_number_is_read_in_each_of_its_spellings() {
        for (text, number) in [
            ("7", 7),
            ("7.0", 7),
            ("\"7\"", 7),
            ("-0.0", 0),
            ("-3", -3),
            ("\"-3\"", -3),
            ("1e3", 1000),
            ("9007199254740992", 9_007_199_254_740_992),
            ("9223372036854775807", i64::MAX),
        ] {
            let row = read(text, text, "\"2026-01-01\"").unwrap();
            assert_eq!((row.count, row.latency), (number, Some(number)), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_whole_number_is_refused() {
        for text in [
            "1.5",
            "true",
            "[]",
            "{}",
            "\"\"",
            "\"-\"",
            "\"+7\"",
            "\" 7\"",
            "\"1_000\"",
            "\"7.0\"",
            "\"0x7\"",
            "\"٣\"",
            "9223372036854775808",
            "1e19",
            "1e300",
            "-1e300",
            "\"9223372036854775808\"",
        ] {
            assert!(
                read(text, "null", "\"2026-01-01\"").is_err(),
                "{text} is read as a count"
            );
            assert!(
                read("1", text, "\"2026-01-01\"").is_err(),
                "{text} is read as a latency"
            );
        }
        assert!(read("null", "null", "\"2026-01-01\"").is_err());
    }

    #[test]
    fn a_date_has_exactly_one_spelling() {
        let row = read("1", "null", "\"2024-02-29\"").unwrap();
        assert_eq!(
            row,
            Row {
                count: 1,
                latency: None,
                day: date(2024, 2, 29)
            }
        );
        for text in [
            "null",
            "20240229",
            "\"20240229\"",
            "\"2023-02-29\"",
            "\"2024-02-29T10:00\"",
            "\"\"",
            "\"2024-2-29\"",
            "\"2024-W09-4\"",
            "\"2024-02-29T00:00:00Z\"",
            "\" 2024-02-29\"",
        ] {
            assert!(read("1", "null", text).is_err(), "{text} is read as a date");
        }
    }
}
