//! The period of a limit: a calendar month in UTC.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::{Offset, TimeZone};
use serde::{Deserialize, Serialize};

/// A calendar month in UTC: that of the moment a call was admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Period {
    year: i16,
    month: i8,
}

/// A text that is not a month written `YYYY-MM`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a period is a month written YYYY-MM, for example 2026-11")]
pub struct InvalidPeriod;

impl Period {
    /// The month that holds `moment`.
    #[must_use]
    pub fn of(moment: Timestamp) -> Self {
        let day = day_of(moment);
        Self {
            year: day.year(),
            month: day.month(),
        }
    }

    /// The month that holds `day`.
    #[must_use]
    pub fn of_day(day: Date) -> Self {
        Self {
            year: day.year(),
            month: day.month(),
        }
    }

    /// The month after this one.
    #[must_use]
    pub fn next(self) -> Self {
        if self.month >= 12 {
            Self {
                year: self.year.saturating_add(1),
                month: 1,
            }
        } else {
            Self {
                year: self.year,
                month: self.month.saturating_add(1),
            }
        }
    }

    /// The first day of the month.
    #[must_use]
    pub fn first_day(self) -> Date {
        Date::new(self.year, self.month, 1).unwrap_or(Date::MAX)
    }

    /// The first moment of the month.
    #[must_use]
    pub fn start(self) -> Timestamp {
        start_of_day(self.first_day())
    }

    /// The first moment after the month: when its limits start afresh.
    #[must_use]
    pub fn end(self) -> Timestamp {
        self.next().start()
    }
}

/// The day in UTC that holds `moment`.
#[must_use]
pub fn day_of(moment: Timestamp) -> Date {
    Offset::UTC.to_datetime(moment).date()
}

/// The first moment of a day in UTC.
#[must_use]
pub fn start_of_day(day: Date) -> Timestamp {
    day.to_zoned(TimeZone::UTC)
        .map_or(Timestamp::MAX, |zoned| zoned.timestamp())
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", self.year, self.month)
    }
}

impl FromStr for Period {
    type Err = InvalidPeriod;

    fn from_str(text: &str) -> Result<Self, InvalidPeriod> {
        let (year, month) = text.split_once('-').ok_or(InvalidPeriod)?;
        if year.len() != 4 || month.len() != 2 {
            return Err(InvalidPeriod);
        }
        let year = year.parse().or(Err(InvalidPeriod))?;
        let month = month.parse().or(Err(InvalidPeriod))?;
        Date::new(year, month, 1)
            .map(Self::of_day)
            .or(Err(InvalidPeriod))
    }
}

impl TryFrom<String> for Period {
    type Error = InvalidPeriod;

    fn try_from(text: String) -> Result<Self, InvalidPeriod> {
        text.parse()
    }
}

impl From<Period> for String {
    fn from(period: Period) -> Self {
        period.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn period(moment: &str) -> String {
        Period::of(moment.parse().unwrap()).to_string()
    }

    #[test]
    fn a_month_ends_at_midnight_in_utc_and_not_a_microsecond_later() {
        assert_eq!(period("2026-11-30T23:59:59.999999Z"), "2026-11");
        assert_eq!(period("2026-12-01T00:00:00Z"), "2026-12");
        assert_eq!(period("2028-02-29T23:59:59.999999Z"), "2028-02");
        assert_eq!(period("2028-03-01T00:00:00Z"), "2028-03");
    }

    #[test]
    fn a_moment_written_in_another_zone_belongs_to_its_utc_month() {
        assert_eq!(period("2026-12-01T13:59:59+14:00"), "2026-11");
        assert_eq!(period("2026-11-30T12:00:00-12:00"), "2026-12");
    }

    #[test]
    fn december_ends_with_the_year() {
        let december: Period = "2026-12".parse().unwrap();
        assert_eq!(december.end().to_string(), "2027-01-01T00:00:00Z");
        assert_eq!(december.start().to_string(), "2026-12-01T00:00:00Z");
    }

    #[test]
    fn only_a_month_is_a_period() {
        for text in [
            "2026",
            "2026-13",
            "26-01",
            "2026-1",
            "2026-00",
            "",
            "2026-01-01",
        ] {
            assert!(text.parse::<Period>().is_err(), "{text}");
        }
    }
}
