//! Points in time, in whole seconds, as a KMS shows them. The clock itself is the caller's.

use core::fmt;
use core::str::FromStr;

/// Seconds of a day.
pub const DAY: u64 = 86_400;

/// Seconds since 1970-01-01T00:00:00Z, up to the end of the year 9999.
///
/// ```
/// use stillkey_core::kms::time::Time;
/// let time = Time::from_unix(1_798_765_445).unwrap();
/// assert_eq!(time.to_string(), "2027-01-01T01:04:05Z");
/// assert_eq!("2027-01-01T01:04:05Z".parse(), Ok(time));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(u64);

impl Time {
    /// 9999-12-31T23:59:59Z: later ones could not be written.
    pub const MAX: Self = Self(253_402_300_799);

    /// The time so many seconds after 1970-01-01T00:00:00Z; `None` after [`Time::MAX`].
    pub const fn from_unix(seconds: u64) -> Option<Self> {
        if seconds > Self::MAX.0 {
            None
        } else {
            Some(Self(seconds))
        }
    }

    /// Seconds since 1970-01-01T00:00:00Z.
    pub const fn unix(self) -> u64 {
        self.0
    }

    /// So many seconds later, at most [`Time::MAX`].
    #[must_use]
    pub fn plus(self, seconds: u64) -> Self {
        Self(self.0.saturating_add(seconds)).min(Self::MAX)
    }

    /// Days since 1970-01-01.
    pub const fn day(self) -> u64 {
        self.0 / DAY
    }
}

/// What time it is, and whether that can be relied on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// What the clock shows.
    pub time: Time,
    /// Whether the clock is trusted enough for what can't be undone: the deletion of keys and of
    /// key material that are due. A clock that leapt ahead is not.
    pub irreversible: bool,
}

impl Now {
    /// The time of a clock that is trusted.
    pub const fn new(time: Time) -> Self {
        Self {
            time,
            irreversible: true,
        }
    }

    /// The time of a clock that may have leapt ahead: nothing is destroyed by it.
    pub const fn doubtful(time: Time) -> Self {
        Self {
            time,
            irreversible: false,
        }
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = civil(self.day());
        let second = self.0 % DAY;
        let (hour, minute) = (second / 3600, second / 60 % 60);
        let second = second % 60;
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z"
        )
    }
}

/// Year, month and day, by eras of 400 years that begin with March.
/// Source: H. Hinnant, "chrono-Compatible Low-Level Date Algorithms".
fn civil(days: u64) -> (u64, u64, u64) {
    // 719,468 days lie between 0000-03-01 and 1970-01-01; 146,097 are an era.
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
}

/// Days since 1970-01-01, of a date in or after that year.
fn days_of(year: u64, month: u64, day: u64) -> Option<u64> {
    let year = year - u64::from(month <= 2);
    let (era, year_of_era) = (year / 400, year % 400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    (era * 146_097 + day_of_era).checked_sub(719_468)
}

/// A text that is not a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotATime;

impl fmt::Display for NotATime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a time is expected that looks like 2027-01-01T01:04:05Z, from 1970 on")
    }
}

impl core::error::Error for NotATime {}

impl FromStr for Time {
    type Err = NotATime;

    fn from_str(text: &str) -> Result<Self, NotATime> {
        parse(text.as_bytes()).ok_or(NotATime)
    }
}

fn parse(text: &[u8]) -> Option<Time> {
    let mut numbers = [0; 6];
    let mut rest = text;
    let shape = [
        (4, b'-'),
        (2, b'-'),
        (2, b'T'),
        (2, b':'),
        (2, b':'),
        (2, b'Z'),
    ];
    for (number, (digits, behind)) in numbers.iter_mut().zip(shape) {
        let (read, after) = rest.split_at_checked(digits)?;
        for digit in read {
            *number = *number * 10 + u64::from((*digit as char).to_digit(10)?);
        }
        rest = after.strip_prefix(&[behind])?;
    }
    let [year, month, day, hour, minute, second] = numbers;
    let clock = hour < 24 && minute < 60 && second < 60;
    if !rest.is_empty() || !clock || year < 1970 || !(1..=12).contains(&month) || day == 0 {
        return None;
    }
    let days = days_of(year, month, day)?;
    // 30 February has a number as well, but isn't what that number is written as.
    (civil(days) == (year, month, day)).then_some(())?;
    Time::from_unix(days * DAY + hour * 3600 + minute * 60 + second)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn known_times_are_written_as_everybody_does() {
        for (unix, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_709_164_800, "2024-02-29T00:00:00Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (253_402_300_799, "9999-12-31T23:59:59Z"),
        ] {
            let time = Time::from_unix(unix).unwrap();
            assert_eq!(time.to_string(), text);
            assert_eq!(text.parse(), Ok(time));
        }
        assert_eq!(Time::from_unix(253_402_300_800), None);
        assert_eq!(Time::MAX.plus(u64::MAX), Time::MAX);
    }

    #[test]
    fn a_date_that_is_in_no_calendar_is_no_time() {
        for text in [
            "2023-02-29T00:00:00Z",
            "2100-02-29T00:00:00Z",
            "2024-04-31T00:00:00Z",
            "2024-00-01T00:00:00Z",
            "2024-13-01T00:00:00Z",
            "2024-01-00T00:00:00Z",
            "2024-01-01T24:00:00Z",
            "2024-01-01T00:60:00Z",
            "2024-01-01T00:00:60Z",
            "1969-12-31T23:59:59Z",
            "2024-01-01 00:00:00Z",
            "2024-01-01T00:00:00",
            "2024-01-01T00:00:00ZZ",
            "2024-1-01T00:00:00Z",
            "+024-01-01T00:00:00Z",
            "",
        ] {
            assert_eq!(text.parse::<Time>(), Err(NotATime), "{text}");
        }
    }

    #[test]
    fn every_time_reads_back_and_a_later_one_is_written_later() {
        // Steps of 5 days and some: every day of every month comes by, leap years included.
        let times = (0..=Time::MAX.0).step_by(450_001).map(Time);
        let mut before = alloc::string::String::new();
        for time in times {
            let text = time.to_string();
            assert_eq!(text.parse(), Ok(time));
            assert!(before < text, "{before} {text}");
            before = text;
        }
    }
}
