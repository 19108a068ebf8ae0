//! How often keys are rotated by themselves.

use core::fmt;
use core::str::FromStr;

use super::request::Face;
use super::time::DAY;

/// The time between two automatic rotations, in whole seconds: 7 to 2,560 days.
///
/// ```
/// use stillkey_core::kms::rotation::RotationInterval;
/// let week: RotationInterval = "7d".parse()?;
/// assert_eq!(week.seconds(), 604_800);
/// assert_eq!(week.to_string(), "604800s");
/// # Ok::<(), stillkey_core::kms::rotation::NotAnInterval>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RotationInterval(u64);

impl RotationInterval {
    /// Between rotations there are at least so many days.
    pub const MIN_DAYS: u64 = 7;
    /// Between rotations there are at most so many days.
    pub const MAX_DAYS: u64 = 2560;

    /// By seconds; `None` outside of 7 to 2,560 days.
    pub const fn from_seconds(seconds: u64) -> Option<Self> {
        if seconds < Self::MIN_DAYS * DAY || seconds > Self::MAX_DAYS * DAY {
            None
        } else {
            Some(Self(seconds))
        }
    }

    /// In seconds.
    pub const fn seconds(self) -> u64 {
        self.0
    }

    /// The days, first and last, that a face takes.
    pub const fn days_of(face: Face) -> (u64, u64) {
        match face {
            Face::Alibaba => (7, 730),
            Face::Aws => (90, 2560),
            Face::Tencent => (7, 365),
        }
    }

    /// Whether a face takes it.
    pub const fn is_within(self, face: Face) -> bool {
        let (first, last) = Self::days_of(face);
        self.0 >= first * DAY && self.0 <= last * DAY
    }
}

impl fmt::Display for RotationInterval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}s", self.0)
    }
}

/// A text that is no interval of rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAnInterval;

impl fmt::Display for NotAnInterval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "an interval of rotation is a whole number with d, h, m or s behind it, \
             7 to 2560 days: 365d",
        )
    }
}

impl core::error::Error for NotAnInterval {}

impl FromStr for RotationInterval {
    type Err = NotAnInterval;

    fn from_str(text: &str) -> Result<Self, NotAnInterval> {
        let unit = match text.as_bytes().last() {
            Some(b'd') => DAY,
            Some(b'h') => 3600,
            Some(b'm') => 60,
            Some(b's') => 1,
            _ => return Err(NotAnInterval),
        };
        text.get(..text.len() - 1)
            // A sign, which parsing would take, is no digit.
            .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
            .and_then(|digits| digits.parse::<u64>().ok())
            .and_then(|number| number.checked_mul(unit))
            .and_then(Self::from_seconds)
            .ok_or(NotAnInterval)
    }
}

/// Whether a key is rotated by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AutomaticRotation {
    /// It has no such policy.
    Disabled,
    /// It is.
    Enabled,
    /// It has the policy, but isn't enabled.
    Suspended,
}

impl AutomaticRotation {
    /// As DescribeKey writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Disabled => "Disabled",
            Self::Enabled => "Enabled",
            Self::Suspended => "Suspended",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_is_read_in_each_unit_and_only_within_its_limits() {
        let seconds = |text: &str| text.parse().map(RotationInterval::seconds);
        assert_eq!(seconds("7d"), Ok(604_800));
        assert_eq!(seconds("168h"), Ok(604_800));
        assert_eq!(seconds("10080m"), Ok(604_800));
        assert_eq!(seconds("604800s"), Ok(604_800));
        assert_eq!(seconds("2560d"), Ok(2560 * DAY));
        for wrong in [
            "",
            "d",
            "7",
            "+7d",
            "-7d",
            "7 d",
            "7D",
            "6d",
            "604799s",
            "2561d",
            "7.5d",
            "７d",
            "99999999999999999999d",
            "18446744073709551615d",
            "7é",
        ] {
            assert_eq!(seconds(wrong), Err(NotAnInterval), "{wrong}");
        }
    }

    #[test]
    fn each_face_has_its_limits() {
        for (face, first, last) in [
            (Face::Alibaba, 7, 730),
            (Face::Aws, 90, 2560),
            (Face::Tencent, 7, 365),
        ] {
            let within = |seconds| {
                RotationInterval::from_seconds(seconds)
                    .is_some_and(|interval| interval.is_within(face))
            };
            assert!(!within(first * DAY - 1) && within(first * DAY));
            assert!(within(last * DAY) && !within(last * DAY + 1));
        }
    }
}
