//! How keys are named: ids, ARNs and aliases.

use alloc::format;
use alloc::string::String;
use core::fmt;

use super::id::Id;
use super::refusal::{Cause, shortened};
use super::request::Face;

/// Where a KMS is: both parts stand in each ARN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace {
    region: String,
    account: String,
}

impl Namespace {
    /// The region and account, each 1 to 64 letters, digits, `-` or `_`; `None` otherwise.
    pub fn new(region: &str, account: &str) -> Option<Self> {
        let fits = |part: &str| {
            let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
            (1..=64).contains(&part.len()) && part.bytes().all(allowed)
        };
        (fits(region) && fits(account)).then(|| Self {
            region: region.into(),
            account: account.into(),
        })
    }

    /// The region.
    pub fn region(&self) -> &str {
        &self.region
    }

    /// The account's number.
    pub fn account(&self) -> &str {
        &self.account
    }

    /// `acs:kms:REGION:ACCOUNT:key/ID`.
    pub fn key_arn(&self, key: Id) -> String {
        format!("{self}:key/{key}")
    }

    /// `acs:kms:REGION:ACCOUNT:alias/NAME`, of an alias with its prefix.
    pub fn alias_arn(&self, alias: &str) -> String {
        format!("{self}:{alias}")
    }

    /// `acs:kms:REGION:ACCOUNT:key`: the resource of operations on no key in particular.
    pub fn key_container(&self) -> String {
        format!("{self}:key")
    }

    /// `acs:kms:REGION:ACCOUNT:alias`: the resource of ListAliases.
    pub fn alias_container(&self) -> String {
        format!("{self}:alias")
    }

    /// What stands behind this namespace in an ARN; `None` where it is no ARN of it.
    fn within<'a>(&self, arn: &'a str, face: Face) -> Option<&'a str> {
        let rest = match face {
            // `aws-cn`, `aws-us-gov`: which partition, only the region tells.
            Face::Aws => arn.strip_prefix("arn:aws").and_then(|rest| {
                let (partition, rest) = rest.split_once(':')?;
                (partition.is_empty() || partition.starts_with('-')).then_some(rest)
            }),
            Face::Alibaba | Face::Tencent => None,
        }
        .or_else(|| arn.strip_prefix("acs:"))?;
        rest.strip_prefix("kms:")?
            .strip_prefix(self.region())?
            .strip_prefix(':')?
            .strip_prefix(self.account())?
            .strip_prefix(':')
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "acs:kms:{}:{}", self.region, self.account)
    }
}

/// How a request names a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reference<'a> {
    Key(Id),
    /// With its prefix.
    Alias(&'a str),
}

impl<'a> Reference<'a> {
    pub(super) fn parse(text: &'a str, namespace: &Namespace, face: Face) -> Result<Self, Cause> {
        if is_alias(text) {
            return Ok(Self::Alias(text));
        }
        match namespace.within(text, face) {
            Some(resource) if is_alias(resource) => return Ok(Self::Alias(resource)),
            Some(resource) => resource.strip_prefix("key/").unwrap_or_default(),
            None => text,
        }
        .parse()
        .map(Self::Key)
        .map_err(|_| Cause::KeyNotFound {
            key: shortened(text),
            deleted: None,
        })
    }
}

const PREFIX: &str = "alias/";

/// Of the keys of services.
const RESERVED: &str = "alias/acs";

fn is_alias(text: &str) -> bool {
    text.starts_with(PREFIX)
}

/// The alias of a service's own key, of its code in lower case.
pub(super) fn of_service(code: &str) -> String {
    format!("{RESERVED}/{}", code.to_ascii_lowercase())
}

/// Whether it is one of those for services, on any face.
pub(super) fn is_reserved(alias: &str) -> bool {
    alias
        .strip_prefix(RESERVED)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Whether the text has the form of an alias.
pub(super) fn check(alias: &str) -> Result<(), Cause> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'/' | b'-');
    let name = alias.strip_prefix(PREFIX);
    match name {
        Some(name) if (1..=255).contains(&name.len()) && name.bytes().all(allowed) => Ok(()),
        _ => Err(Cause::InvalidAlias {
            alias: shortened(alias),
        }),
    }
}

/// Whether users may make it, move it and take it away.
pub(super) fn check_for_users(alias: &str, face: Face) -> Result<(), Cause> {
    check(alias)?;
    // AWS counts the prefix, and keeps a prefix of its own.
    let too_long = face == Face::Aws && alias.len() > 256;
    if too_long {
        return Err(Cause::InvalidAlias {
            alias: shortened(alias),
        });
    }
    if is_reserved(alias) || face == Face::Aws && alias.starts_with("alias/aws/") {
        return Err(Cause::ReservedAlias {
            alias: alias.into(),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "1234abcd-12ab-34cd-56ef-1234567890ab";

    fn parse(text: &str, face: Face) -> Option<alloc::string::String> {
        let namespace = Namespace::new("cn-hangzhou", "111122223333").unwrap();
        match Reference::parse(text, &namespace, face) {
            Ok(Reference::Key(id)) => Some(format!("{id}")),
            Ok(Reference::Alias(alias)) => Some(alias.into()),
            Err(Cause::KeyNotFound { .. }) => None,
            Err(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_key_is_named_by_id_arn_or_alias_of_this_namespace_alone() {
        let here = "acs:kms:cn-hangzhou:111122223333:";
        for face in [Face::Alibaba, Face::Aws, Face::Tencent] {
            assert_eq!(parse(ID, face).as_deref(), Some(ID));
            assert_eq!(parse(&format!("{here}key/{ID}"), face).as_deref(), Some(ID));
            let alias = parse(&format!("{here}alias/example"), face);
            assert_eq!(alias.as_deref(), Some("alias/example"));
            for other in [
                "example".into(),
                "".into(),
                format!("{here}{ID}"),
                format!("{here}key/"),
                format!("{here}key/key/{ID}"),
                format!("{here}alias"),
                format!("acs:kms:cn-hangzhou:1111222233334:key/{ID}"),
                format!("acs:kms:cn-hangzhou2:111122223333:key/{ID}"),
                format!("acs:oss:cn-hangzhou:111122223333:key/{ID}"),
            ] {
                assert_eq!(parse(&other, face), None, "{other}");
            }
        }
        let aws = format!("arn:aws:kms:cn-hangzhou:111122223333:key/{ID}");
        assert_eq!(parse(&aws, Face::Aws).as_deref(), Some(ID));
        assert_eq!(
            parse(&aws.replace("aws:", "aws-cn:"), Face::Aws).as_deref(),
            Some(ID)
        );
        assert_eq!(parse(&aws.replace("aws:", "awsome:"), Face::Aws), None);
        assert_eq!(parse(&aws, Face::Alibaba), None);
    }

    #[test]
    fn an_alias_is_its_whole_name_of_few_characters() {
        let longest = format!("alias/{}", "a".repeat(255));
        for right in [
            "alias/a",
            "alias/MyAppKey",
            "alias/a/b-c_9",
            "alias/alias/x",
            &longest,
        ] {
            assert_eq!(check(right), Ok(()), "{right}");
        }
        let longer = format!("{longest}a");
        for wrong in [
            "",
            "alias",
            "alias/",
            "example",
            "Alias/a",
            "alias/a b",
            "alias/é",
            &longer,
        ] {
            assert!(check(wrong).is_err(), "{wrong}");
        }
        assert!(check_for_users(&longest, Face::Alibaba).is_ok());
        assert!(check_for_users(&longest, Face::Aws).is_err());
        assert!(check_for_users(&longest[..256], Face::Aws).is_ok());
    }

    #[test]
    fn reserved_prefixes_are_for_services() {
        let reserved = |alias, face| {
            matches!(
                check_for_users(alias, face),
                Err(Cause::ReservedAlias { .. })
            )
        };
        for face in [Face::Alibaba, Face::Aws, Face::Tencent] {
            assert!(reserved("alias/acs", face) && reserved("alias/acs/oss", face));
            assert!(!reserved("alias/acsx", face) && !reserved("alias/ac", face));
            assert_eq!(reserved("alias/aws/s3", face), face == Face::Aws);
        }
    }
}
