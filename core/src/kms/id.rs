//! Identifiers of keys and of their versions: random UUIDs.

use alloc::format;
use alloc::string::String;
use core::fmt;
use core::str::FromStr;

use crate::error::Error;
use crate::random::RandomSource;

/// The identifier of a key or of a key version: a UUID, 16 bytes.
///
/// ```
/// use stillkey_core::kms::id::Id;
/// let id: Id = "1234ABCD-12ab-34cd-56ef-1234567890ab".parse()?;
/// assert_eq!(id.to_string(), "1234abcd-12ab-34cd-56ef-1234567890ab");
/// # Ok::<(), stillkey_core::kms::id::NotAnId>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id([u8; 16]);

impl Id {
    /// The identifier with these bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Its 16 bytes, in the order in which they are written.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// A random one. Source: RFC 9562 §5.4 (version 4).
    ///
    /// # Errors
    /// [`Error::Unavailable`] when `random` fails.
    pub fn random(random: &mut dyn RandomSource) -> Result<Self, Error> {
        let mut bytes = [0; 16];
        random.fill(&mut bytes)?;
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        Ok(Self(bytes))
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, byte) in self.0.iter().enumerate() {
            if matches!(at, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is not a UUID of 36 characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotAnId {
    found: String,
}

impl fmt::Display for NotAnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} is not an id, which looks like 1234abcd-12ab-34cd-56ef-1234567890ab",
            self.found
        )
    }
}

impl core::error::Error for NotAnId {}

impl FromStr for Id {
    type Err = NotAnId;

    fn from_str(text: &str) -> Result<Self, NotAnId> {
        parse(text.as_bytes()).map(Self).ok_or_else(|| NotAnId {
            // What isn't an id may be long, and may be anything.
            found: format!("{:?}", text.chars().take(64).collect::<String>()),
        })
    }
}

fn parse(text: &[u8]) -> Option<[u8; 16]> {
    let mut bytes = [0; 16];
    let mut rest = text;
    for (at, byte) in bytes.iter_mut().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            rest = rest.strip_prefix(b"-")?;
        }
        let (digits, behind) = rest.split_at_checked(2)?;
        for digit in digits {
            let nibble = (*digit as char).to_digit(16)?;
            *byte = *byte << 4 | u8::try_from(nibble).ok()?;
        }
        rest = behind;
    }
    rest.is_empty().then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TestRng;
    use alloc::string::ToString;

    #[test]
    fn an_id_is_read_in_either_case_and_written_in_lower_case() {
        let text = "1234abcd-12ab-34cd-56ef-1234567890ab";
        let id: Id = text.parse().unwrap();
        assert_eq!(id.to_string(), text);
        assert_eq!(text.to_uppercase().parse(), Ok(id));
    }

    #[test]
    fn what_is_not_exactly_a_uuid_is_no_id() {
        let text = "1234abcd-12ab-34cd-56ef-1234567890ab";
        for wrong in [
            "",
            &text[1..],
            &text.replace('-', ""),
            &text.replace('a', "g"),
            &text.replace('-', "_"),
            &std::format!("{text}0"),
            &std::format!(" {text}"),
            &text.replace("12ab", "+2ab"),
            "1234abcd-12ab-34cd-56ef-1234567890é",
        ] {
            assert!(wrong.parse::<Id>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_random_id_says_that_it_is_random() {
        let id = Id::random(&mut TestRng::constant(0xff)).unwrap();
        assert_eq!(id.to_string(), "ffffffff-ffff-4fff-bfff-ffffffffffff");
        let id = Id::random(&mut TestRng::constant(0)).unwrap();
        assert_eq!(id.to_string(), "00000000-0000-4000-8000-000000000000");
    }
}
