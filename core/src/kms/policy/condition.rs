//! Conditions of a statement: an operator, a key of the request, and values to compare it with.
//! Times, networks and patterns are parsed when the policy is read, not when a request comes.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::pattern::{Pattern, Patterns};
use super::{Effect, Question};
use crate::kms::json::{Json, quoted};
use crate::kms::time::Time;

/// A condition that can be judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Condition {
    test: Test,
    /// None of the values may fit; otherwise one must.
    negated: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Test {
    Time(Comparison, Box<[Time]>),
    Source(Box<[Network]>),
    Tag(Box<str>, TagTest),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum TagTest {
    Equals(Box<[Box<str>]>),
    EqualsIgnoreCase(Box<[Box<str>]>),
    Like(Patterns),
    Bool(Box<[bool]>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Equals,
    LessThan,
    LessThanEquals,
    GreaterThan,
    GreaterThanEquals,
}

impl Condition {
    /// The condition, or in words why it can't be judged.
    pub(super) fn new(operator: &str, key: &str, values: &[Json]) -> Result<Self, String> {
        let (operator, negated) = Operator::parse(operator)?;
        let test = match (Key::parse(key)?, operator) {
            (Key::CurrentTime, Operator::Date(comparison)) => {
                Test::Time(comparison, all(values, time)?)
            }
            (Key::SourceIp, Operator::IpAddress) => Test::Source(all(values, Network::parse)?),
            (Key::Tag(key), Operator::Bool) => {
                Test::Tag(key.into(), TagTest::Bool(all(values, truth)?))
            }
            (Key::Tag(key), Operator::String(comparison)) => Test::Tag(
                key.into(),
                match comparison {
                    Text::Equals => TagTest::Equals(all(values, text)?),
                    Text::EqualsIgnoreCase => TagTest::EqualsIgnoreCase(all(values, text)?),
                    Text::Like => TagTest::Like(
                        all(values, text)?
                            .iter()
                            .map(|value| Pattern::new(value))
                            .collect(),
                    ),
                },
            ),
            (found, _) => {
                return Err(format!(
                    "this operator can't be applied to {key}; expected {}",
                    found.operators()
                ));
            }
        };
        Ok(Self { test, negated })
    }

    /// Whether it holds for a request. What is unknown about the request never helps the caller:
    /// without a source address, it fails in an `Allow` and holds in a `Deny`.
    pub(super) fn holds(&self, effect: Effect, question: &Question<'_>) -> bool {
        let fits = match &self.test {
            Test::Time(comparison, times) => {
                let now = question.now;
                times.iter().any(|time| comparison.holds(now, *time))
            }
            Test::Source(networks) => match question.source {
                Some(source) => {
                    let source = source.to_canonical();
                    networks.iter().any(|network| network.contains(source))
                }
                None => return effect == Effect::Deny,
            },
            Test::Tag(key, test) => match question.tags.and_then(|tags| tags.get(&**key)) {
                Some(tag) => test.fits(tag),
                None => return false,
            },
        };
        fits != self.negated
    }

    /// Whether it is about the tags of a key.
    pub(super) const fn is_about_tags(&self) -> bool {
        matches!(self.test, Test::Tag(..))
    }
}

impl TagTest {
    fn fits(&self, tag: &str) -> bool {
        match self {
            Self::Equals(values) => values.iter().any(|value| **value == *tag),
            Self::EqualsIgnoreCase(values) => {
                values.iter().any(|value| value.eq_ignore_ascii_case(tag))
            }
            Self::Like(patterns) => patterns.any(tag),
            Self::Bool(values) => values.iter().any(|value| truth_of(tag) == Some(*value)),
        }
    }
}

impl Comparison {
    fn holds(self, now: Time, time: Time) -> bool {
        match self {
            Self::Equals => now == time,
            Self::LessThan => now < time,
            Self::LessThanEquals => now <= time,
            Self::GreaterThan => now > time,
            Self::GreaterThanEquals => now >= time,
        }
    }
}

#[derive(Clone, Copy)]
enum Operator {
    String(Text),
    Date(Comparison),
    Bool,
    IpAddress,
}

#[derive(Clone, Copy)]
enum Text {
    Equals,
    EqualsIgnoreCase,
    Like,
}

/// The operators: name, meaning, whether negated.
const OPERATORS: [(&str, Operator, bool); 15] = {
    use Comparison::{Equals, GreaterThan, GreaterThanEquals, LessThan, LessThanEquals};
    use Operator::{Bool, Date, IpAddress, String};
    [
        ("StringEquals", String(Text::Equals), false),
        ("StringNotEquals", String(Text::Equals), true),
        (
            "StringEqualsIgnoreCase",
            String(Text::EqualsIgnoreCase),
            false,
        ),
        (
            "StringNotEqualsIgnoreCase",
            String(Text::EqualsIgnoreCase),
            true,
        ),
        ("StringLike", String(Text::Like), false),
        ("StringNotLike", String(Text::Like), true),
        ("DateEquals", Date(Equals), false),
        ("DateNotEquals", Date(Equals), true),
        ("DateLessThan", Date(LessThan), false),
        ("DateLessThanEquals", Date(LessThanEquals), false),
        ("DateGreaterThan", Date(GreaterThan), false),
        ("DateGreaterThanEquals", Date(GreaterThanEquals), false),
        ("Bool", Bool, false),
        ("IpAddress", IpAddress, false),
        ("NotIpAddress", IpAddress, true),
    ]
};

impl Operator {
    fn parse(name: &str) -> Result<(Self, bool), String> {
        let operators = OPERATORS.iter();
        operators
            .clone()
            .find_map(|&(known, operator, negated)| (known == name).then_some((operator, negated)))
            .ok_or_else(|| unknown("operator", name, operators.map(|(known, ..)| *known)))
    }
}

/// A fact about a request.
#[derive(Clone, Copy)]
enum Key<'a> {
    CurrentTime,
    SourceIp,
    /// The KEY of `kms:tag/KEY`.
    Tag(&'a str),
}

impl<'a> Key<'a> {
    fn parse(name: &'a str) -> Result<Self, String> {
        match name {
            "acs:CurrentTime" => Ok(Self::CurrentTime),
            "acs:SourceIp" => Ok(Self::SourceIp),
            _ => match name.strip_prefix("kms:tag/") {
                Some(key) if !key.is_empty() => Ok(Self::Tag(key)),
                _ => Err(unknown(
                    "key",
                    name,
                    ["acs:CurrentTime", "acs:SourceIp", "kms:tag/KEY"],
                )),
            },
        }
    }

    /// What can be applied to it, in words.
    const fn operators(self) -> &'static str {
        match self {
            Self::CurrentTime => "one of Date…",
            Self::SourceIp => "IpAddress or NotIpAddress",
            Self::Tag(_) => "one of String… or Bool",
        }
    }
}

fn unknown<'a>(what: &str, name: &str, known: impl IntoIterator<Item = &'a str> + Clone) -> String {
    let name_and_what = format!("unknown {what} {}", quoted(name));
    let meant = |known: &&str| known.eq_ignore_ascii_case(name);
    match known.clone().into_iter().find(meant) {
        Some(meant) => format!("{name_and_what}; did you mean {meant}?"),
        None => {
            let mut text = name_and_what + "; known are ";
            for (at, known) in known.into_iter().enumerate() {
                if at > 0 {
                    text.push_str(", ");
                }
                text.push_str(known);
            }
            text
        }
    }
}

/// Every value by `parse`, which says what it expects.
fn all<T>(
    values: &[Json],
    parse: fn(&Json) -> Result<T, &'static str>,
) -> Result<Box<[T]>, String> {
    let parse = |value| {
        parse(value).map_err(|expected| {
            let found = match value {
                Json::String(text) => quoted(text),
                Json::Bool(value) => format!("{value}"),
                other => other.kind().into(),
            };
            format!("found {found}, expected {expected}")
        })
    };
    values.iter().map(parse).collect()
}

fn text(value: &Json) -> Result<Box<str>, &'static str> {
    value.as_str().map(Into::into).ok_or("a string")
}

fn truth(value: &Json) -> Result<bool, &'static str> {
    match value {
        Json::Bool(value) => Some(*value),
        _ => value.as_str().and_then(truth_of),
    }
    .ok_or("true or false")
}

fn truth_of(text: &str) -> Option<bool> {
    match text {
        _ if text.eq_ignore_ascii_case("true") => Some(true),
        _ if text.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
}

fn time(value: &Json) -> Result<Time, &'static str> {
    value
        .as_str()
        .and_then(time_of)
        .ok_or("a time such as 2027-01-01T01:04:05Z or 2027-01-01T09:04:05+08:00")
}

/// A time of UTC, or with an offset as RAM's samples have it.
fn time_of(text: &str) -> Option<Time> {
    if text.ends_with('Z') {
        return text.parse().ok();
    }
    let (local, offset) = text.split_at_checked(text.len().checked_sub(6)?)?;
    let (hours, minutes) = offset.get(1..)?.split_once(':')?;
    let number = |digits: &str, below| number(digits).filter(|number| *number < below);
    let offset_seconds =
        u64::from(number(hours, 24)?) * 3600 + u64::from(number(minutes, 60)?) * 60;
    let local = format!("{local}Z").parse::<Time>().ok()?.unix();
    Time::from_unix(match offset.as_bytes().first() {
        Some(b'+') => local.checked_sub(offset_seconds)?,
        Some(b'-') => local.checked_add(offset_seconds)?,
        _ => return None,
    })
}

/// A number of digits only: `parse` alone would take a sign.
fn number(digits: &str) -> Option<u8> {
    let only_digits = digits.bytes().all(|byte| byte.is_ascii_digit());
    only_digits.then(|| digits.parse().ok()).flatten()
}

/// Addresses that begin with the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Network {
    V4 { address: u32, mask: u32 },
    V6 { address: u128, mask: u128 },
}

impl Network {
    /// `ADDRESS/PREFIX LENGTH`, or an address alone. Bits past the prefix are ignored.
    fn parse(value: &Json) -> Result<Self, &'static str> {
        value
            .as_str()
            .and_then(Self::of)
            .ok_or("an address or network such as 203.0.113.7, 10.0.0.0/8 or 2001:db8::/32")
    }

    fn of(text: &str) -> Option<Self> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(number(prefix)?)),
            None => (text, None),
        };
        match address.parse().ok()? {
            IpAddr::V4(address) => Self::v4(address, prefix.unwrap_or(32)),
            IpAddr::V6(address) => match address.to_ipv4_mapped() {
                // The same network, written differently. A shorter prefix would cover both
                // families.
                Some(v4) => Self::v4(v4, prefix.unwrap_or(128).checked_sub(96)?),
                None => Self::v6(address, prefix.unwrap_or(128)),
            },
        }
    }

    fn v4(address: Ipv4Addr, prefix: u8) -> Option<Self> {
        let behind = 32_u32.checked_sub(prefix.into())?;
        let mask = u32::MAX.checked_shl(behind).unwrap_or(0);
        let address = address.to_bits() & mask;
        Some(Self::V4 { address, mask })
    }

    fn v6(address: Ipv6Addr, prefix: u8) -> Option<Self> {
        let behind = 128_u32.checked_sub(prefix.into())?;
        let mask = u128::MAX.checked_shl(behind).unwrap_or(0);
        let address = address.to_bits() & mask;
        Some(Self::V6 { address, mask })
    }

    /// `source`: an address that isn't IPv4 mapped into IPv6.
    fn contains(self, source: IpAddr) -> bool {
        match (self, source) {
            (Self::V4 { address, mask }, IpAddr::V4(source)) => source.to_bits() & mask == address,
            (Self::V6 { address, mask }, IpAddr::V6(source)) => source.to_bits() & mask == address,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_may_have_an_offset() {
        for (text, utc) in [
            ("2027-01-01T01:04:05Z", "2027-01-01T01:04:05Z"),
            ("2019-08-12T17:00:00+08:00", "2019-08-12T09:00:00Z"),
            ("2019-08-12T03:00:00+08:00", "2019-08-11T19:00:00Z"),
            ("2019-12-31T20:15:00-05:45", "2020-01-01T02:00:00Z"),
            ("2019-08-12T17:00:00+00:00", "2019-08-12T17:00:00Z"),
            ("2019-08-12T17:00:00-00:00", "2019-08-12T17:00:00Z"),
            ("1970-01-01T23:59:00+23:59", "1970-01-01T00:00:00Z"),
        ] {
            assert_eq!(time_of(text), utc.parse().ok(), "{text}");
        }
        for text in [
            "",
            "Z",
            "tomorrow",
            "2019-08-12",
            "2019-08-12T17:00:00",
            "2019-08-12T17:00:00 08:00",
            "2019-08-12T17:00:00+0800",
            "2019-08-12T17:00:00+8:00",
            "2019-08-12T17:00:00++8:00",
            "2019-08-12T17:00:00+24:00",
            "2019-08-12T17:00:00+08:60",
            "2019-08-12T17:00:00+08:0é",
            "2019-08-12T17:00:00Z+08:00",
            "2019-08-12T17:00:00.000Z",
            "1970-01-01T07:59:59+08:00",
            "9999-12-31T23:59:59-00:01",
            "1565600400",
        ] {
            assert_eq!(time_of(text), None, "{text}");
        }
    }

    #[test]
    fn networks_hold_the_addresses_that_begin_as_they_do() {
        for (network, inside, outside) in [
            ("203.0.113.7", "203.0.113.7", "203.0.113.6"),
            ("203.0.113.7/32", "203.0.113.7", "203.0.113.8"),
            ("203.0.113.0/31", "203.0.113.1", "203.0.113.2"),
            ("10.0.0.0/8", "10.255.255.255", "11.0.0.0"),
            ("10.1.2.3/8", "10.9.9.9", "9.255.255.255"),
            ("128.0.0.0/1", "255.255.255.255", "127.255.255.255"),
            ("0.0.0.0/0", "255.0.0.1", "::"),
            ("10.0.0.0/8", "::ffff:10.1.2.3", "::10.1.2.3"),
            ("::ffff:10.0.0.0/104", "10.1.2.3", "11.0.0.0"),
            ("::ffff:10.0.0.1", "10.0.0.1", "10.0.0.2"),
            ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::"),
            ("2001:db8::1", "2001:db8::1", "2001:db8::2"),
            ("2001:db8::1/128", "2001:db8::1", "2001:db8::"),
            ("::/0", "ffff::", "0.0.0.0"),
            ("8000::/1", "ffff::", "7fff::"),
        ] {
            let holds = |address: &str| {
                let address: IpAddr = address.parse().unwrap();
                Network::of(network)
                    .unwrap()
                    .contains(address.to_canonical())
            };
            assert!(holds(inside), "{network} {inside}");
            assert!(!holds(outside), "{network} {outside}");
        }
        for text in [
            "",
            "/",
            "/8",
            "10.0.0.0/",
            "10.0.0.0/33",
            "10.0.0.0/+8",
            "10.0.0.0/-1",
            "10.0.0.0/256",
            "10.0.0.0/8/8",
            "10.0.0/8",
            "10.0.0.*",
            "010.0.0.0/8",
            "10.0.0.0/255.0.0.0",
            " 10.0.0.0/8",
            "2001:db8::/129",
            "::ffff:10.0.0.0/95",
            "fe80::1%eth0",
            "[::1]",
            "localhost",
        ] {
            assert_eq!(Network::of(text), None, "{text}");
        }
    }
}
