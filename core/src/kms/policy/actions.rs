//! The actions that policies are about, and sets of them: what a statement's patterns match is
//! known when the policy is read.

use super::pattern::Pattern;

/// Every action that a policy can name. `kms:DescribeRegions` is here because policies name it,
/// although the operation needs no permission. ReEncrypt needs two: one for the key that it
/// decrypts with, one for the key that it encrypts with.
pub const ACTIONS: [&str; 32] = [
    "kms:CancelKeyDeletion",
    "kms:CreateAlias",
    "kms:CreateKey",
    "kms:CreateKeyVersion",
    "kms:Decrypt",
    "kms:DeleteAlias",
    "kms:DeleteKeyMaterial",
    "kms:DescribeKey",
    "kms:DescribeKeyVersion",
    "kms:DescribeRegions",
    "kms:DisableKey",
    "kms:EnableKey",
    "kms:Encrypt",
    "kms:GenerateDataKey",
    "kms:GenerateDataKeyWithoutPlaintext",
    "kms:GenerateRandom",
    "kms:GetParametersForImport",
    "kms:ImportKeyMaterial",
    "kms:ListAliases",
    "kms:ListAliasesByKeyId",
    "kms:ListKeyVersions",
    "kms:ListKeys",
    "kms:ListResourceTags",
    "kms:ReEncryptFrom",
    "kms:ReEncryptTo",
    "kms:ScheduleKeyDeletion",
    "kms:SetDeletionProtection",
    "kms:TagResource",
    "kms:UntagResource",
    "kms:UpdateAlias",
    "kms:UpdateKeyDescription",
    "kms:UpdateRotationPolicy",
];

/// Those of [`ACTIONS`] in which conditions on tags can hold.
pub(super) const CRYPTOGRAPHIC: [&str; 6] = [
    "kms:Decrypt",
    "kms:Encrypt",
    "kms:GenerateDataKey",
    "kms:GenerateDataKeyWithoutPlaintext",
    "kms:ReEncryptFrom",
    "kms:ReEncryptTo",
];

/// Some of [`ACTIONS`], one bit each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Actions(u64);

impl Actions {
    /// Those that a pattern matches, ignoring case.
    pub(super) fn matching(pattern: &str) -> Self {
        let pattern = Pattern::new(&pattern.to_ascii_lowercase());
        Self::those(|action| pattern.matches(&action.to_ascii_lowercase()))
    }

    /// The action of this name, ignoring case; nothing if there is none.
    pub(super) fn one(name: &str) -> Self {
        Self::those(|action| action.eq_ignore_ascii_case(name))
    }

    /// Those in which conditions on tags can hold.
    pub(super) fn cryptographic() -> Self {
        Self::those(|action| CRYPTOGRAPHIC.contains(&action))
    }

    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(super) fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    fn those(belongs: impl Fn(&str) -> bool) -> Self {
        let bits = ACTIONS.iter().enumerate();
        Self(bits.fold(0, |set, (bit, action)| {
            set | u64::from(belongs(action)) << bit
        }))
    }
}

impl FromIterator<Self> for Actions {
    fn from_iter<I: IntoIterator<Item = Self>>(sets: I) -> Self {
        Self(sets.into_iter().fold(0, |all, set| all | set.0))
    }
}
