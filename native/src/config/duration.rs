//! Durations as TiKV's configuration spells them.
//!
//! No crate reads this spelling: others know weeks, months or spaces, and none insists on the order of the units.

use std::time::Duration;

use crate::error::Error;

/// The units with their length in seconds, longest first. A name that begins with another one stands before it where that matters.
const UNITS: [(&str, f64); 7] = [
    ("d", 86_400.0),
    ("h", 3_600.0),
    ("m", 60.0),
    ("s", 1.0),
    ("ms", 1e-3),
    ("us", 1e-6),
    ("ns", 1e-9),
];

/// Reads a duration as people give it on a command line: as TiKV's configuration spells it (`7d`,
/// `1h30m`), with weeks before that (`1w`), or as a whole number of seconds (`604800`).
///
/// # Errors
/// [`Error::Usage`] for anything else, and for nothing at all.
///
/// ```
/// use std::time::Duration;
/// for week in ["1w", "7d", "604800"] {
///     assert_eq!(stillkey::parse_duration(week)?, Duration::from_secs(604_800));
/// }
/// # Ok::<(), stillkey::Error>(())
/// ```
pub fn parse_duration(text: &str) -> Result<Duration, Error> {
    let text = text.trim();
    if text.bytes().all(|byte| byte.is_ascii_digit())
        && let Ok(seconds) = text.parse()
    {
        return Ok(Duration::from_secs(seconds));
    }
    let (weeks, rest) = text.split_once('w').unwrap_or(("0", text));
    let sum = weeks.trim().parse().ok().and_then(|weeks: f64| {
        let weeks = Duration::try_from_secs_f64(weeks * WEEK).ok()?;
        weeks.checked_add(parse(rest)?)
    });
    match sum {
        Some(duration) if !text.is_empty() => Ok(duration),
        _ => Err(Error::Usage(
            "expected a duration such as 7d, 1w or 1h30m (numbers with w, d, h, m, s, ms, us or ns, in \
             this order), or a number of seconds"
                .into(),
        )),
    }
}

const WEEK: f64 = 604_800.0;

/// What a duration looks like, for messages.
pub(super) const FORM: &str =
    "a duration such as \"7d\" or \"1h30m\": numbers with d, h, m, s, ms, us or ns, in this order";

/// Numbers, each with its unit, longest unit first and none twice. A number may have a fraction, and spaces around it. As in TiKV, nothing
/// at all is no time.
pub(super) fn parse(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    let mut units = UNITS.as_slice();
    let mut sum = Duration::ZERO;
    while !rest.is_empty() {
        let (number, behind) = rest.split_at_checked(rest.find(is_unit)?)?;
        let at = units.iter().rposition(|(name, _)| {
            behind
                .strip_prefix(name)
                .is_some_and(|next| !next.starts_with(is_unit))
        })?;
        let (name, seconds) = units.get(at)?;
        units = units.get(at + 1..)?;
        rest = behind.strip_prefix(name)?;
        let part = number.trim().parse::<f64>().ok()? * seconds;
        sum = sum.checked_add(Duration::try_from_secs_f64(part).ok()?)?;
    }
    Some(sum)
}

fn is_unit(c: char) -> bool {
    "dhmsun".contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit_and_their_combinations_in_order_are_read() {
        for (text, expected) in [
            ("7d", Duration::from_secs(7 * 86_400)),
            ("168h", Duration::from_secs(7 * 86_400)),
            ("1h30m", Duration::from_secs(5400)),
            ("1d2h3m4s", Duration::from_secs(93_784)),
            ("1m1ms", Duration::from_millis(60_001)),
            ("10ms", Duration::from_millis(10)),
            ("5us", Duration::from_micros(5)),
            ("3s2ms1us9ns", Duration::new(3, 2_001_009)),
            ("1.5d", Duration::from_secs(129_600)),
            (" 1 d 2 h ", Duration::from_secs(93_600)),
            ("1e3s", Duration::from_secs(1000)),
            ("0s", Duration::ZERO),
            ("", Duration::ZERO),
        ] {
            assert_eq!(parse(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn a_command_line_has_weeks_and_seconds_as_well() {
        for (text, seconds) in [
            ("1w", 604_800),
            ("604800", 604_800),
            ("7d", 604_800),
            ("1w1d", 691_200),
            (" 2 w 1 h ", 1_213_200),
            ("0.5w", 302_400),
            ("0", 0),
            ("1h30m", 5400),
        ] {
            let expected = Duration::from_secs(seconds);
            assert_eq!(parse_duration(text).unwrap(), expected, "{text}");
        }
        for text in [
            "",
            " ",
            "w",
            "1w1w",
            "1d1w",
            "-1",
            "+1",
            "1.5",
            "-1w",
            "infw",
            "1e300w",
            "soon",
            "7 8",
            "99999999999999999999",
        ] {
            parse_duration(text).unwrap_err();
        }
    }

    #[test]
    fn what_tikv_refuses_is_refused() {
        for text in [
            "7", "d", "1h1d", "1d1d", "1s1m", "-1s", "1w", "1D", "7days", "infs", "nans", "1e300d",
            "7d1", "1 1s", "1msec", "7ｄ", "1ms2s",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
