//! A key: its versions, its state, and what is known about it.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use super::id::Id;
use super::import::Import;
use super::material::{KeptMaterial, Place};
use super::rotation::{AutomaticRotation, RotationInterval};
use super::time::Time;
use crate::format::protobuf::UnknownFields;

/// What may be done with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyState {
    /// Everything.
    Enabled,
    /// No cryptography, until it is enabled again.
    Disabled,
    /// Nothing: it will be deleted, unless that is called off.
    PendingDeletion,
    /// No cryptography: it has no material, until some is imported.
    PendingImport,
}

impl KeyState {
    /// As DescribeKey writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Enabled => "Enabled",
            Self::Disabled => "Disabled",
            Self::PendingDeletion => "PendingDeletion",
            Self::PendingImport => "PendingImport",
        }
    }
}

impl fmt::Display for KeyState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Enabled => "enabled",
            Self::Disabled => "disabled",
            Self::PendingDeletion => "pending deletion",
            Self::PendingImport => "pending import",
        })
    }
}

/// Where the material of a key comes from. Fixed for good.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Origin {
    /// The KMS makes it (`Aliyun_KMS`, `AWS_KMS`).
    #[default]
    Generated,
    /// It is imported (`EXTERNAL`).
    External,
}

/// Where the material of a key lives. Fixed for good.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ProtectionLevel {
    /// In memory of this process, and encrypted where the KMS stores its state.
    #[default]
    Software,
    /// In a hardware security module, which it never leaves.
    Hsm,
}

impl ProtectionLevel {
    /// As requests and DescribeKey write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Software => "SOFTWARE",
            Self::Hsm => "HSM",
        }
    }
}

impl fmt::Display for ProtectionLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One version of a key. It lives as long as its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Version {
    pub(super) id: Id,
    pub(super) created: Time,
    /// `None` only in imported keys: erased.
    pub(super) material: Option<Arc<KeptMaterial>>,
    /// Days since 1970-01-01.
    pub(super) last_used: Option<u64>,
    pub(super) uses: u64,
    pub(super) unknown: UnknownFields,
}

impl Version {
    pub(super) fn new(id: Id, created: Time, material: Arc<KeptMaterial>) -> Self {
        Self {
            id,
            created,
            material: Some(material),
            last_used: None,
            uses: 0,
            unknown: UnknownFields::default(),
        }
    }
}

/// A key. Cloning it copies what is said about it and pointers to its versions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) id: Id,
    pub(super) created: Time,
    /// The code of the service that it belongs to.
    pub(super) service: Option<String>,
    pub(super) description: String,
    pub(super) origin: Origin,
    pub(super) level: ProtectionLevel,
    pub(super) state: KeyState,
    /// Oldest first: the last one is the primary. Empty only before the first import.
    pub(super) versions: Vec<Arc<Version>>,
    pub(super) rotation: Option<RotationInterval>,
    /// Of a key whose deletion is pending.
    pub(super) delete_at: Option<Time>,
    /// When imported material is erased.
    pub(super) material_expires: Option<Time>,
    /// Of the material that was imported first: no other will do.
    pub(super) fingerprint: Option<[u8; 32]>,
    pub(super) tags: BTreeMap<String, String>,
    /// Why the key must not be deleted.
    pub(super) protection: Option<String>,
    /// Oldest first.
    pub(super) imports: Vec<Import>,
    pub(super) unknown: UnknownFields,
}

impl Key {
    pub(super) fn new(id: Id, created: Time, origin: Origin, level: ProtectionLevel) -> Self {
        Self {
            id,
            created,
            service: None,
            description: String::new(),
            origin,
            level,
            state: KeyState::PendingImport,
            versions: Vec::new(),
            rotation: None,
            delete_at: None,
            material_expires: None,
            fingerprint: None,
            tags: BTreeMap::new(),
            protection: None,
            imports: Vec::new(),
            unknown: UnknownFields::default(),
        }
    }

    /// The version that encrypts.
    pub(super) fn primary(&self) -> Option<&Arc<Version>> {
        self.versions.last()
    }

    pub(super) fn version(&self, id: Id) -> Option<&Arc<Version>> {
        // The newest are asked for most.
        self.versions.iter().rev().find(|version| version.id == id)
    }

    /// Where a version's material is.
    pub(super) fn place(&self, version: Id) -> Place {
        Place {
            key: self.id,
            version,
            level: self.level,
        }
    }

    pub(super) fn has_material(&self) -> bool {
        self.primary()
            .is_some_and(|version| version.material.is_some())
    }

    /// Adds a version, which is the primary from now on.
    pub(super) fn push(&mut self, version: Version) {
        self.versions.push(Arc::new(version));
    }

    /// The next automatic rotation, of a key that has the policy: suspended ones count on. There is
    /// none after the year 9999: if it were cut to that, it would be due again at once.
    pub(super) fn next_rotation(&self) -> Option<Time> {
        let last = self.primary()?.created.unix();
        Time::from_unix(last.checked_add(self.rotation?.seconds())?)
    }

    /// When something has to be done with the key by itself.
    pub(super) fn next_due(&self) -> Option<Time> {
        let rotation = self
            .next_rotation()
            .filter(|_| self.state == KeyState::Enabled);
        let expiry = self.material_expires.filter(|_| self.has_material());
        [rotation, self.delete_at, expiry]
            .into_iter()
            .flatten()
            .min()
    }

    /// Erases imported material. Returns what is to be destroyed.
    pub(super) fn erase_material(&mut self) -> Option<Arc<KeptMaterial>> {
        let version = self.versions.last_mut()?;
        let material = version.material.clone()?;
        Arc::make_mut(version).material = None;
        self.material_expires = None;
        if self.state != KeyState::PendingDeletion {
            self.state = KeyState::PendingImport;
        }
        Some(material)
    }

    pub(super) fn automatic_rotation(&self) -> AutomaticRotation {
        match (self.rotation, self.state) {
            (None, _) => AutomaticRotation::Disabled,
            (Some(_), KeyState::Enabled) => AutomaticRotation::Enabled,
            (Some(_), _) => AutomaticRotation::Suspended,
        }
    }
}

/// All that is known of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyMetadata {
    /// Its id.
    pub key: Id,
    /// What may be done with it.
    pub state: KeyState,
    /// Where its material comes from.
    pub origin: Origin,
    /// Where its material lives.
    pub protection: ProtectionLevel,
    /// The account's number, or the code of the service that it belongs to, in capitals.
    pub creator: String,
    /// When it was made.
    pub created: Time,
    /// In its owner's words.
    pub description: String,
    /// When it will be deleted, if that is pending.
    pub delete_at: Option<Time>,
    /// Why it must not be deleted, if it is protected.
    pub deletion_protection: Option<String>,
    /// When its imported material is erased; `None`: never.
    pub material_expires: Option<Time>,
    /// Whether it is rotated by itself.
    pub automatic_rotation: AutomaticRotation,
    /// How often.
    pub rotation_interval: Option<RotationInterval>,
    /// When next, once it is enabled.
    pub next_rotation: Option<Time>,
    /// When its newest version was made.
    pub last_rotation: Option<Time>,
    /// The version that encrypts.
    pub primary_version: Option<Id>,
    /// The day of its last use, counted from 1970-01-01, as far as the store has noted it.
    pub last_used: Option<u64>,
}

impl Key {
    pub(super) fn metadata(&self, account: &str) -> KeyMetadata {
        KeyMetadata {
            key: self.id,
            state: self.state,
            origin: self.origin,
            protection: self.level,
            creator: match &self.service {
                Some(code) => code.to_ascii_uppercase(),
                None => account.into(),
            },
            created: self.created,
            description: self.description.clone(),
            delete_at: self.delete_at,
            deletion_protection: self.protection.clone(),
            material_expires: self.material_expires,
            automatic_rotation: self.automatic_rotation(),
            rotation_interval: self.rotation,
            next_rotation: self.next_rotation(),
            last_rotation: self.primary().map(|version| version.created),
            primary_version: self.primary().map(|version| version.id),
            last_used: self
                .versions
                .iter()
                .filter_map(|version| version.last_used)
                .max(),
        }
    }
}
