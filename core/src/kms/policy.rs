//! Policies: what a user or a service may do with which keys and aliases, in the language of
//! Alibaba Cloud's RAM.
//!
//! A policy is read once, and everything that can be computed in advance is. Then it decides about
//! request after request, without allocating and without backtracking.
//!
//! ```json
//! {
//!   "Version": "1",
//!   "Statement": [{
//!     "Effect": "Allow",
//!     "Action": ["kms:Encrypt", "kms:GenerateDataKey*"],
//!     "Resource": "acs:kms:*:111122223333:key/*",
//!     "Condition": {"StringEqualsIgnoreCase": {"kms:tag/Project": ["Apollo", "Gemini"]}}
//!   }]
//! }
//! ```
//!
//! **Statements.** A statement matches a request if one of its actions, one of its resources and
//! all of its conditions do. A `Deny` that matches overrules every `Allow`. A request that no
//! `Allow` matches is not allowed. A single statement, action, resource or value needs no array.
//! Members that RAM has and this KMS doesn't, such as `NotAction` and `Principal`, are refused:
//! ignoring them would change what a policy means.
//!
//! **Actions and resources.** `*` stands for any number of characters, `:` and `/` included, and
//! `?` for exactly one. Actions ([`ACTIONS`]) are compared ignoring case, resources are not.
//!
//! **Conditions.** Every operator and every key of a statement must hold. Of several values for one
//! key, one must fit; if the operator's name contains `Not`, none may.
//!
//! | key | operators | values |
//! |---|---|---|
//! | `kms:tag/KEY` | `StringEquals`, `StringNotEquals`, `StringEqualsIgnoreCase`, `StringNotEqualsIgnoreCase` | strings; only the case of ASCII letters can be ignored |
//! | | `StringLike`, `StringNotLike` | strings with `*` and `?`; case matters |
//! | | `Bool` | `true` or `false`; the case of the value and of the tag is ignored |
//! | `acs:CurrentTime` | `DateEquals`, `DateNotEquals`, `DateLessThan`, `DateLessThanEquals`, `DateGreaterThan`, `DateGreaterThanEquals` | `2027-01-01T01:04:05Z`, `2027-01-01T09:04:05+08:00` |
//! | `acs:SourceIp` | `IpAddress`, `NotIpAddress` | IPv4 and IPv6 addresses and networks; an IPv4-mapped IPv6 address is the IPv4 address |
//!
//! The case of operators and keys matters: RAM documents one spelling of each. What is unknown
//! never helps a caller:
//!
//! - With an operator or key that is not in the table, an operator that doesn't apply to the key,
//!   or a value that can't be read, an `Allow` never matches, and a `Deny` matches whatever its
//!   conditions say. [`Policy::warnings`] names each.
//! - Without a source address, a condition on it fails in an `Allow` and holds in a `Deny`.
//! - Tags are those of the key, in cryptographic operations. A condition on a tag that the key
//!   doesn't have fails, in an `Allow` and in a `Deny`, negated or not; so does any condition on
//!   tags in other operations. To keep callers away from keys without a tag, allow only keys that
//!   have it.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::String;
use core::fmt;
use core::net::IpAddr;

pub use self::actions::ACTIONS;
use self::actions::Actions;
use self::condition::Condition;
use self::pattern::Patterns;
use super::json::NotJson;
use super::time::Time;

mod actions;
mod condition;
mod pattern;
mod read;
#[cfg(test)]
mod tests;

/// A policy that has been read.
///
/// ```
/// use stillkey_core::kms::policy::{Decision, Policy, Question};
/// use stillkey_core::kms::time::Time;
/// let policy = Policy::parse(
///     r#"{"Version": "1", "Statement": [
///         {"Effect": "Allow", "Action": "kms:*", "Resource": "*"},
///         {"Effect": "Deny", "Action": "kms:*Deletion", "Resource": "*"}
///     ]}"#,
/// )?;
/// let decide = |action| {
///     policy.decide(&Question {
///         action,
///         resource: "acs:kms:local:000000000000:key/1234abcd-12ab-34cd-56ef-1234567890ab",
///         now: Time::from_unix(1_798_765_445).unwrap(),
///         source: None,
///         tags: None,
///     })
/// };
/// assert_eq!(decide("kms:DescribeKey"), Decision::Allowed { statement: 1 });
/// assert_eq!(decide("kms:ScheduleKeyDeletion"), Decision::Denied { statement: 2 });
/// assert_eq!(decide("oss:GetObject"), Decision::NotAllowed);
/// # Ok::<(), stillkey_core::kms::policy::NotAPolicy>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    text: Box<str>,
    statements: Box<[Statement]>,
    warnings: Box<[PolicyWarning]>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Statement {
    effect: Effect,
    actions: Actions,
    resources: Patterns,
    conditions: Box<[Condition]>,
    /// Some other condition can't be judged: a Deny matches, and an Allow doesn't.
    fails_closed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    Allow,
    Deny,
}

impl Policy {
    /// The longest text of a policy, in bytes.
    pub const MAX_LEN: usize = 32 << 10;

    /// The most statements that a policy may have.
    pub const MAX_STATEMENTS: usize = 100;

    /// Reads a policy from JSON.
    ///
    /// # Errors
    /// [`NotAPolicy`] for a text of more than [`Policy::MAX_LEN`] bytes, which is not parsed, for
    /// more than [`Policy::MAX_STATEMENTS`] statements, for what is not strictly JSON, and for JSON
    /// that doesn't have the shape of a policy.
    pub fn parse(text: &str) -> Result<Self, NotAPolicy> {
        read::policy(text)
    }

    /// The text that it was read from.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What in it has no effect, or not the effect that its author may expect.
    pub fn warnings(&self) -> &[PolicyWarning] {
        &self.warnings
    }

    /// What it says about one action on one resource.
    pub fn decide(&self, question: &Question<'_>) -> Decision {
        let action = Actions::one(question.action);
        let mut decision = Decision::NotAllowed;
        for (statement, number) in self.statements.iter().zip(1..) {
            let allowed = decision != Decision::NotAllowed;
            match statement.effect {
                Effect::Allow if !allowed && statement.matches(action, question) => {
                    decision = Decision::Allowed { statement: number };
                }
                Effect::Deny if statement.matches(action, question) => {
                    return Decision::Denied { statement: number };
                }
                _ => {}
            }
        }
        decision
    }
}

impl Statement {
    fn matches(&self, action: Actions, question: &Question<'_>) -> bool {
        let holds = |condition: &Condition| condition.holds(self.effect, question);
        self.actions.intersects(action)
            && self.resources.any(question.resource)
            && if self.fails_closed {
                self.effect == Effect::Deny
            } else {
                self.conditions.iter().all(holds)
            }
    }
}

/// What a policy decides about: one action on one resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question<'a> {
    /// One of [`ACTIONS`], in any case: `kms:Encrypt`. No statement matches any other.
    pub action: &'a str,
    /// The ARN of the key, the alias, or the container of either.
    pub resource: &'a str,
    /// The current time: `acs:CurrentTime`.
    pub now: Time,
    /// Where the request comes from, if that is known: `acs:SourceIp`.
    pub source: Option<IpAddr>,
    /// The tags of the key; `None` outside of cryptographic operations.
    pub tags: Option<&'a BTreeMap<String, String>>,
}

/// What a policy answers. Statements are counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Yes, and no statement denies it.
    Allowed {
        /// The first statement that allows it.
        statement: usize,
    },
    /// No, whatever else allows it.
    Denied {
        /// The first statement that denies it.
        statement: usize,
    },
    /// No: no statement says anything about it.
    NotAllowed,
}

/// Something in a policy that has no effect, or not the effect that its author may expect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyWarning {
    /// The statement, counted from 1.
    pub statement: usize,
    /// What was found in it, and what follows from that.
    pub what: String,
}

impl fmt::Display for PolicyWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "statement {}: {}", self.statement, self.what)
    }
}

/// A text that is no policy.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotAPolicy {
    /// It is too long, and was not parsed.
    TooLong {
        /// Its length in bytes.
        bytes: usize,
    },
    /// It is not JSON, or an object in it has a name twice.
    NotJson(NotJson),
    /// It has too many statements.
    TooManyStatements {
        /// How many it has.
        statements: usize,
    },
    /// It is JSON, but doesn't have the shape of a policy.
    Malformed {
        /// Where: the statement, counted from 1, and the names that lead there.
        place: String,
        /// What was found there, and what was expected.
        what: String,
    },
}

impl fmt::Display for NotAPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { bytes } => {
                write!(
                    f,
                    "policy: {bytes} bytes, expected at most {}",
                    Policy::MAX_LEN
                )
            }
            Self::NotJson(error) => write!(f, "policy: {error}"),
            Self::TooManyStatements { statements } => write!(
                f,
                "policy: {statements} statements, expected at most {}",
                Policy::MAX_STATEMENTS
            ),
            Self::Malformed { place, what } => write!(f, "{place}: {what}"),
        }
    }
}

impl core::error::Error for NotAPolicy {}
