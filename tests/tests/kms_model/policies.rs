//! A pool of policies as texts, and what each of them says, written by hand: no pattern is matched
//! and no condition is evaluated here.

use std::net::IpAddr;

use stillkey_core::kms::id::Id;

pub(crate) const REGION: &str = "cn-hangzhou";
pub(crate) const ACCOUNT: &str = "1416614965936597";

/// 2030-01-01T00:00:00Z, as one of the policies has it.
const NEW_YEAR: u64 = 1_893_456_000;

/// What an action is about.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Resource<'a> {
    Keys,
    Aliases,
    Key(Id),
    /// With its prefix.
    Alias(&'a str),
}

impl Resource<'_> {
    pub(crate) fn arn(self) -> String {
        match self {
            Self::Keys => format!("acs:kms:{REGION}:{ACCOUNT}:key"),
            Self::Aliases => format!("acs:kms:{REGION}:{ACCOUNT}:alias"),
            Self::Key(id) => format!("acs:kms:{REGION}:{ACCOUNT}:key/{id}"),
            Self::Alias(name) => format!("acs:kms:{REGION}:{ACCOUNT}:{name}"),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    Allowed,
    /// By this statement, counted from 1.
    Denied(usize),
    Silent,
}

use Decision::{Allowed, Denied, Silent};

/// What is asked of a policy. `tags` are those of the key, in cryptography only.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Question<'a> {
    pub(crate) action: &'a str,
    pub(crate) resource: Resource<'a>,
    pub(crate) now: u64,
    pub(crate) source: Option<IpAddr>,
    pub(crate) tags: Option<&'a [(String, String)]>,
}

impl Question<'_> {
    fn tag(&self, name: &str) -> Option<&str> {
        let tags = self.tags?;
        let (_, value) = tags.iter().find(|(key, _)| key == name)?;
        Some(value)
    }

    fn is(&self, actions: &[&str]) -> bool {
        actions
            .iter()
            .any(|action| self.action == format!("kms:{action}"))
    }

    /// Whether it is about a key whose id begins with 0 to 7.
    fn lower_half(&self) -> bool {
        matches!(self.resource, Resource::Key(id) if id.as_bytes()[0] < 0x80)
    }
}

const READS: [&str; 7] = [
    "ListKeys",
    "ListAliases",
    "ListAliasesByKeyId",
    "ListKeyVersions",
    "ListResourceTags",
    "DescribeKey",
    "DescribeKeyVersion",
];
const CHANGES_OF_ALIASES: [&str; 3] = ["CreateAlias", "UpdateAlias", "DeleteAlias"];
const READS_OF_ALIASES: [&str; 2] = ["ListAliases", "ListAliasesByKeyId"];
const ENCRYPTS: [&str; 3] = [
    "Encrypt",
    "GenerateDataKey",
    "GenerateDataKeyWithoutPlaintext",
];

fn allowed_if(yes: bool) -> Decision {
    if yes { Allowed } else { Silent }
}

fn in_net(source: Option<IpAddr>, first: u8, second: Option<u8>) -> bool {
    matches!(source, Some(IpAddr::V4(v4)) if v4.octets()[0] == first
        && second.is_none_or(|second| v4.octets()[1] == second))
}

type Judge = fn(&Question<'_>) -> Decision;

/// Texts, and what they say.
pub(crate) const POOL: [(&str, Judge); 11] = [
    (
        r#"{"Version":"1","Statement":[{"Effect":"Allow","Action":"kms:*","Resource":"*"}]}"#,
        |_| Allowed,
    ),
    // The guide's read-only user.
    (
        r#"{"Version":"1","Statement":[{"Effect":"Allow","Action":["kms:List*","kms:Describe*",
            "kms:Encrypt","kms:Decrypt","kms:GenerateDataKey"],"Resource":["*"]}]}"#,
        |ask| allowed_if(ask.is(&READS) || ask.is(&["Encrypt", "Decrypt", "GenerateDataKey"])),
    ),
    // The guide's project, by tag; tags can be changed.
    (
        r#"{"Version":"1","Statement":[
            {"Effect":"Allow","Action":["KMS:encrypt","kms:Decrypt","kms:GenerateDataKey*",
                "kms:ReEncrypt*"],"Resource":"*",
             "Condition":{"StringEqualsIgnoreCase":{"kms:tag/Project":["apollo","gemini"]}}},
            {"Effect":"Allow","Action":["kms:*Tag*","kms:CreateKey"],"Resource":"*"}]}"#,
        |ask| {
            let project = ask.tag("Project").map(str::to_ascii_lowercase);
            let project = matches!(project.as_deref(), Some("apollo" | "gemini"));
            let works = ask.is(&ENCRYPTS) || ask.is(&["Decrypt", "ReEncryptFrom", "ReEncryptTo"]);
            let tags = ["TagResource", "UntagResource", "ListResourceTags"];
            allowed_if(works && project || ask.is(&tags) || ask.is(&["CreateKey"]))
        },
    ),
    // Everything of the account but deleting.
    (
        r#"{"Version":"1","Statement":[
            {"Effect":"Allow","Action":"kms:*","Resource":"acs:kms:*:1416614965936597:*"},
            {"Effect":"Deny","Action":["kms:*Deletion*","kms:Delete*"],"Resource":"*"}]}"#,
        |ask| {
            let deletes = [
                "ScheduleKeyDeletion",
                "CancelKeyDeletion",
                "SetDeletionProtection",
                "DeleteAlias",
                "DeleteKeyMaterial",
            ];
            if ask.is(&deletes) { Denied(2) } else { Allowed }
        },
    ),
    // Aliases but those of a team.
    (
        r#"{"Version":"1","Statement":[
            {"Effect":"Allow","Action":"kms:*Alias*","Resource":[
                "acs:kms:cn-hangzhou:1416614965936597:alias","acs:kms:*:alias/*","*:key/*"]},
            {"Effect":"Deny","Action":"kms:*Alias","Resource":"*:alias/team/*"},
            {"Effect":"Allow","Action":["kms:ListKeys","kms:DescribeKey"],"Resource":"*"}]}"#,
        |ask| {
            let team =
                matches!(ask.resource, Resource::Alias(name) if name.starts_with("alias/team/"));
            let aliases = ask.is(&CHANGES_OF_ALIASES) || ask.is(&READS_OF_ALIASES);
            match ask.is(&CHANGES_OF_ALIASES) && team {
                true => Denied(2),
                false => allowed_if(aliases || ask.is(&["ListKeys", "DescribeKey"])),
            }
        },
    ),
    // Everything until a day, and from then on only what gives data back.
    (
        r#"{"Version":"1","Statement":[
            {"Effect":"Allow","Action":"kms:*","Resource":"*",
             "Condition":{"DateLessThan":{"acs:CurrentTime":"2030-01-01T00:00:00Z"}}},
            {"Effect":"Allow","Action":"kms:Decrypt","Resource":"*",
             "Condition":{"DateGreaterThanEquals":{"acs:CurrentTime":"2030-01-01T00:00:00Z"}}}]}"#,
        |ask| allowed_if(ask.now < NEW_YEAR || ask.is(&["Decrypt"])),
    ),
    // By address. Without one, a Deny holds.
    (
        r#"{"Version":"1","Statement":[
            {"Effect":"Allow","Action":"kms:*","Resource":"*",
             "Condition":{"IpAddress":{"acs:SourceIp":["10.0.0.0/8","192.0.2.1"]}}},
            {"Effect":"Allow","Action":"kms:Decrypt","Resource":"*"},
            {"Effect":"Deny","Action":["kms:CreateKey","kms:Decrypt"],"Resource":"*",
             "Condition":{"IpAddress":{"acs:SourceIp":"10.9.0.0/16"}}}]}"#,
        |ask| {
            let near = ask.source.is_none() || in_net(ask.source, 10, Some(9));
            if ask.is(&["CreateKey", "Decrypt"]) && near {
                return Denied(3);
            }
            let known =
                in_net(ask.source, 10, None) || ask.source == Some(IpAddr::from([192, 0, 2, 1]));
            allowed_if(known || ask.is(&["Decrypt"]))
        },
    ),
    // Denials by tag: a missing tag denies nothing.
    (
        r#"{"Version":"1","Statement":[
            {"Effect":"Allow","Action":["kms:*"],"Resource":"*"},
            {"Effect":"Deny","Action":["kms:Encrypt","kms:GenerateDataKey*"],"Resource":"*",
             "Condition":{"StringEquals":{"kms:tag/secret":"yes"}}},
            {"Effect":"Deny","Action":"kms:ReEncryptTo","Resource":"*",
             "Condition":{"StringNotEquals":{"kms:tag/env":["prod"]}}}]}"#,
        |ask| {
            if ask.is(&ENCRYPTS) && ask.tag("secret") == Some("yes") {
                return Denied(2);
            }
            let elsewhere = ask.tag("env").is_some_and(|env| env != "prod");
            match ask.is(&["ReEncryptTo"]) && elsewhere {
                true => Denied(3),
                false => Allowed,
            }
        },
    ),
    // Re-encryption away from all keys, towards half of them.
    (
        r#"{"Version":"1","Statement":[
            {"Effect":"Allow","Action":["kms:ReEncryptFrom","kms:Encrypt",
                "kms:GenerateDataKeyWithoutPlaintext"],"Resource":"acs:kms:*:key/*"},
            {"Effect":"Allow","Action":"kms:ReEncryptTo","Resource":["*:key/0*","*:key/1*",
                "*:key/2*","*:key/3*","*:key/4*","*:key/5*","*:key/6*","*:key/7*"]}]}"#,
        |ask| {
            let from = [
                "ReEncryptFrom",
                "Encrypt",
                "GenerateDataKeyWithoutPlaintext",
            ];
            let key = matches!(ask.resource, Resource::Key(_));
            allowed_if(key && ask.is(&from) || ask.is(&["ReEncryptTo"]) && ask.lower_half())
        },
    ),
    // Half of the keys, and aliases of one letter.
    (
        r#"{"Version":"1","Statement":[
            {"Effect":"Allow","Action":"kms:*","Resource":["acs:kms:*:*:key","*:key/0*","*:key/1*",
                "*:key/2*","*:key/3*","*:key/4*","*:key/5*","*:key/6*","*:key/7*"]},
            {"Effect":"Allow","Action":"kms:*Alias","Resource":"acs:kms:*:*:alias/?"}]}"#,
        |ask| {
            allowed_if(match ask.resource {
                Resource::Keys => true,
                Resource::Aliases => false,
                Resource::Key(_) => ask.lower_half(),
                Resource::Alias(name) => {
                    name.len() == "alias/a".len() && ask.is(&CHANGES_OF_ALIASES)
                }
            })
        },
    ),
    // What is unknown never helps: an Allow doesn't match, a Deny does.
    (
        r#"{"Version":"1","Statement":[
            {"Effect":"Allow","Action":"kms:*","Resource":"*",
             "Condition":{"StringSounds":{"kms:tag/Project":["apollo"]}}},
            {"Effect":"Allow","Action":["kms:Decrypt","kms:Encrypt","kms:List*"],"Resource":"*"},
            {"Effect":"Deny","Action":"kms:Decrypt","Resource":"*",
             "Condition":{"StringEquals":{"acs:Unknown":["x"]}}}]}"#,
        |ask| match () {
            () if ask.is(&["Decrypt"]) => Denied(3),
            () => allowed_if(ask.is(&["Encrypt"]) || ask.action.starts_with("kms:List")),
        },
    ),
];
