//! The wall clock: the one place of the project that reads it.

use jiff::Timestamp;

/// The current UTC time, cut to whole microseconds.
#[must_use]
#[expect(
    clippy::disallowed_methods,
    reason = "this is the place where wall time comes from"
)]
pub fn utc_now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::utc_now;

    #[test]
    fn the_time_has_whole_microseconds() {
        for _ in 0..1000 {
            assert_eq!(utc_now().as_nanosecond() % 1000, 0);
        }
    }

    #[test]
    fn the_time_is_of_this_century() {
        let year = jiff::tz::TimeZone::UTC.to_datetime(utc_now()).year();
        assert!((2025..2100).contains(&year), "the year is {year}");
    }
}
