//! What the user's guide tells, and the rules of rotation and deletion.

use super::*;
use crate::error::Error;
use crate::kms::material::{KeptMaterial, MaterialKeeper};
use crate::kms::request::{DataKeyLength, GenerateDataKey, ReEncrypt, Tag};
use crate::kms::response::GeneratedDataKey;
use crate::kms::rotation::RotationInterval;
use crate::kms::time::DAY;
use crate::random::RandomSource;
use alloc::format;

#[test]
fn a_key_is_rotated_by_hand_with_a_second_key_and_an_alias() {
    let mut kms = Kms::new();
    // CMK-A, with an alias by which the application knows it.
    let cmk_a = kms.key();
    let alias = String::from("alias/MyAppKey");
    kms.ask(Request::CreateAlias {
        alias: alias.clone(),
        key: text(cmk_a),
    })
    .unwrap();
    let old = kms.encrypt(&alias, b"before").unwrap();
    assert_eq!(old.key, cmk_a);
    // CMK-B takes its place.
    let cmk_b = kms.key();
    kms.ask(Request::UpdateAlias {
        alias: alias.clone(),
        key: text(cmk_b),
    })
    .unwrap();
    let new = kms.encrypt(&alias, b"after").unwrap();
    assert_eq!(new.key, cmk_b);
    // The blobs name their keys, so both open.
    assert_eq!(kms.decrypt(&old.blob).unwrap(), b"before");
    assert_eq!(kms.decrypt(&new.blob).unwrap(), b"after");
}

#[test]
fn rotation_adds_one_version_however_many_were_missed_and_old_blobs_open() {
    let mut kms = Kms::new();
    let key = kms.create(CreateKey {
        rotation: RotationInterval::from_seconds(7 * DAY),
        ..CreateKey::default()
    });
    let first = kms.encrypt(&text(key), b"x").unwrap();
    assert_eq!(kms.state.next_due().map(Time::unix), Some(START + 7 * DAY));
    kms.now += 7 * DAY - 1;
    assert!(kms.tick().is_empty());
    kms.now += 30 * DAY;
    assert_eq!(kms.tick(), ["RotateKey"]);
    assert!(kms.tick().is_empty());
    let now = kms.time();
    let rotated = kms.describe(key);
    assert_eq!(rotated.last_rotation, Some(now));
    assert_eq!(rotated.next_rotation, Some(now.plus(7 * DAY)));
    let second = kms.encrypt(&text(key), b"x").unwrap();
    assert_eq!(Some(second.version), rotated.primary_version);
    assert_ne!(first.version, second.version);
    assert_eq!(kms.decrypt(&first.blob).unwrap(), b"x");
}

#[test]
fn rotation_is_suspended_while_a_key_is_not_enabled_and_made_up_for_once() {
    let mut kms = Kms::new();
    let key = kms.create(CreateKey {
        rotation: RotationInterval::from_seconds(7 * DAY),
        ..CreateKey::default()
    });
    kms.ask(Request::DisableKey { key: text(key) }).unwrap();
    assert_eq!(kms.describe(key).automatic_rotation.name(), "Suspended");
    assert_eq!(kms.state.next_due(), None);
    kms.now += 100 * DAY;
    assert!(kms.tick().is_empty());
    kms.ask(Request::EnableKey { key: text(key) }).unwrap();
    assert_eq!(kms.describe(key).automatic_rotation.name(), "Enabled");
    assert_eq!(kms.tick(), ["RotateKey"]);
}

#[test]
fn a_policy_whose_next_time_has_passed_rotates_at_once_and_one_by_hand_counts() {
    let mut kms = Kms::new();
    let key = text(kms.key());
    kms.now += 20 * DAY;
    let interval = RotationInterval::from_seconds(10 * DAY);
    let request = Request::UpdateRotationPolicy {
        key: key.clone(),
        interval,
    };
    kms.ask(request).unwrap();
    assert_eq!(kms.tick(), ["RotateKey"]);
    kms.now += 9 * DAY;
    kms.ask(Request::CreateKeyVersion { key: key.clone() })
        .unwrap();
    kms.now += DAY;
    assert!(kms.tick().is_empty());
    kms.now += 9 * DAY;
    assert_eq!(kms.tick(), ["RotateKey"]);
}

#[test]
fn nothing_is_due_over_and_over_in_the_year_9999() {
    let mut kms = Kms::new();
    kms.create(CreateKey {
        rotation: RotationInterval::from_seconds(7 * DAY),
        ..CreateKey::default()
    });
    kms.now = Time::MAX.unix();
    assert_eq!(kms.tick(), ["RotateKey"]);
    assert_eq!(kms.state.next_due(), None);
    assert_eq!(kms.tick(), [""; 0]);
}

#[test]
fn a_deleted_key_is_gone_with_its_aliases_and_leaves_its_date() {
    let mut kms = Kms::new();
    let key = text(kms.key());
    let alias = String::from("alias/a");
    kms.ask(Request::CreateAlias {
        alias: alias.clone(),
        key: key.clone(),
    })
    .unwrap();
    for (days, expected) in [(6, Err("InvalidParameter")), (31, Err("InvalidParameter"))] {
        let key = key.clone();
        assert_eq!(
            kms.ask(Request::ScheduleKeyDeletion { key, days }),
            expected
        );
    }
    let request = Request::ScheduleKeyDeletion {
        key: key.clone(),
        days: 30,
    };
    kms.ask(request).unwrap();
    kms.now += 30 * DAY;
    let before = kms.state.clone();
    let doubtful = Now::doubtful(kms.time());
    let ticked = before.tick(doubtful, &mut kms.rng, &kms.keeper);
    assert!(ticked.next.is_none() && ticked.discarded.is_empty());
    let ticked = before.tick(Now::new(kms.time()), &mut kms.rng, &kms.keeper);
    assert_eq!(ticked.discarded.len(), 1);
    kms.state = ticked.next.unwrap();
    assert_eq!(kms.encrypt(&alias, b"x"), Err("AliasNotFound"));
    let caller = Caller::new(Principal::Root, Face::Alibaba);
    let request = Request::DescribeKey { key };
    let now = Now::new(kms.time());
    let outcome = kms
        .state
        .handle(&request, &caller, now, &mut kms.rng, &kms.keeper);
    let message = outcome.reply.unwrap_err().to_string();
    assert!(
        message.contains("was deleted at 2026-01-31T00:00:00Z"),
        "{message}"
    );
}

#[test]
fn a_protected_key_is_not_deleted() {
    let mut kms = Kms::new();
    let key = text(kms.key());
    let protect = |enabled| Request::SetDeletionProtection {
        key: key.clone(),
        enabled,
        description: "billing".into(),
    };
    let delete = || Request::ScheduleKeyDeletion {
        key: key.clone(),
        days: 7,
    };
    kms.ask(protect(true)).unwrap();
    assert_eq!(kms.ask(delete()), Err("DeletionProtected"));
    kms.ask(protect(false)).unwrap();
    kms.ask(delete()).unwrap();
}

#[test]
fn the_clock_never_goes_back() {
    let mut kms = Kms::new();
    kms.now += 100;
    kms.key();
    kms.now -= 50;
    let key = kms.key();
    assert_eq!(kms.describe(key).created.unix(), START + 100);
}

#[test]
fn nothing_changes_where_nothing_is_to_be_changed() {
    let mut kms = Kms::new();
    let key = text(kms.key());
    let alias = String::from("alias/a");
    kms.ask(Request::CreateAlias {
        alias: alias.clone(),
        key: key.clone(),
    })
    .unwrap();
    let before = kms.state.clone();
    let requests = [
        Request::EnableKey { key: key.clone() },
        Request::UpdateKeyDescription {
            key: key.clone(),
            description: String::new(),
        },
        Request::UpdateAlias {
            alias,
            key: key.clone(),
        },
        Request::UntagResource {
            key: key.clone(),
            names: vec!["absent".into()],
        },
        Request::UpdateRotationPolicy {
            key: key.clone(),
            interval: None,
        },
        Request::GenerateRandom(DataKeyLength::AES_256),
        Request::DescribeRegions,
    ];
    let caller = Caller::new(Principal::Root, Face::Alibaba);
    for request in requests {
        let now = Now::new(Time::from_unix(START + 10).unwrap());
        let outcome = before.handle(&request, &caller, now, &mut kms.rng, &kms.keeper);
        assert!(
            outcome.reply.is_ok() && outcome.next.is_none(),
            "{request:?}"
        );
    }
}

#[test]
fn a_data_key_opens_with_its_context_alone() {
    let mut kms = Kms::new();
    let key = text(kms.key());
    let context: EncryptionContext = [("a", "1"), ("b", "2")].into_iter().collect();
    let request = Request::GenerateDataKey(GenerateDataKey {
        key: key.clone(),
        length: DataKeyLength::new(1024).unwrap(),
        context: context.clone(),
    });
    let Ok(Response::GenerateDataKey(made)) = kms.ask(request) else {
        panic!();
    };
    let GeneratedDataKey {
        plaintext,
        encrypted,
    } = made;
    assert_eq!(kms.decrypt(&encrypted.blob), Err("Undecryptable"));
    let source = Decrypt {
        blob: encrypted.blob,
        context,
        key: Some(key.clone()),
    };
    let Ok(Response::Decrypt(opened)) = kms.ask(Request::Decrypt(source.clone())) else {
        panic!();
    };
    assert_eq!(opened.plaintext, plaintext);
    // Under another key, and without a context.
    let other = kms.key();
    let request = Request::ReEncrypt(ReEncrypt {
        source,
        destination_key: text(other),
        destination_context: EncryptionContext::new(),
    });
    let Ok(Response::ReEncrypt(moved)) = kms.ask(request) else {
        panic!();
    };
    assert_eq!((text(moved.source_key), moved.encrypted.key), (key, other));
    let opened = kms.decrypt(&moved.encrypted.blob).unwrap();
    assert_eq!(opened, plaintext.danger_bytes());
}

#[test]
fn the_key_that_a_caller_expects_is_compared_with_the_blobs() {
    let mut kms = Kms::new();
    let (key, other) = (kms.key(), kms.key());
    let alias = String::from("alias/a");
    kms.ask(Request::CreateAlias {
        alias: alias.clone(),
        key: text(key),
    })
    .unwrap();
    let blob = kms.encrypt(&text(key), b"x").unwrap().blob;
    let mut expecting = |face, expected: &str| {
        kms.face = face;
        kms.ask(Request::Decrypt(Decrypt {
            blob: blob.clone(),
            context: EncryptionContext::new(),
            key: Some(expected.into()),
        }))
        .err()
    };
    for face in FACES {
        assert_eq!(expecting(face, &text(key)), None);
        assert_eq!(expecting(face, &text(other)), Some("OtherKey"));
        let by_alias = (face != Face::Aws).then_some("AliasUnsupported");
        assert_eq!(expecting(face, &alias), by_alias);
    }
}

#[test]
fn sizes_are_within_their_limits() {
    for face in FACES {
        let mut kms = Kms::of(face);
        let key = text(kms.key());
        let most = if face == Face::Alibaba { 6144 } else { 4096 };
        let blob = kms.encrypt(&key, &vec![1; most]).unwrap().blob;
        assert_eq!(
            kms.encrypt(&key, &vec![1; most + 1]),
            Err("InvalidParameter")
        );
        assert_eq!(kms.decrypt(&blob).unwrap().len(), most);
        let blob = kms.encrypt(&key, b"").unwrap().blob;
        assert_eq!(kms.decrypt(&blob).unwrap(), b"");
    }
    let mut kms = Kms::new();
    let key = text(kms.key());
    let describe = |len: usize| Request::UpdateKeyDescription {
        key: key.clone(),
        description: "é".repeat(len),
    };
    assert_eq!(kms.ask(describe(8192)), Ok(Response::UpdateKeyDescription));
    assert_eq!(kms.ask(describe(8193)), Err("InvalidParameter"));
    // {"kkkk":""} with as many characters as a context may have, and one more.
    let context = |len: usize| {
        Request::Encrypt(Encrypt {
            key: key.clone(),
            plaintext: SecretBytes::copied(b"x"),
            context: [("\n".repeat(len / 2 - 4), "\"")].into_iter().collect(),
        })
    };
    assert!(kms.ask(context(8192 - 1)).is_ok());
    assert_eq!(kms.ask(context(8192 + 2)), Err("InvalidParameter"));
}

/// A caller in this process has no JSON text; what counts is the shortest one of its context.
#[test]
fn a_context_is_as_long_as_its_shortest_json() {
    let mut kms = Kms::new();
    let key = text(kms.key());
    for filler in [
        "a", "é", "密", "😀", "\"", "\\", "/", "\n", "\u{8}", "\u{1f}", "\u{7f}", "\0",
    ] {
        let pairs = [(filler, "1"), ("b", filler), ("c\t", "")];
        let short: EncryptionContext = pairs.into_iter().collect();
        let json = |context: &EncryptionContext| {
            let pairs: alloc::collections::BTreeMap<_, _> = context.iter().collect();
            serde_json::to_string(&pairs).unwrap()
        };
        let spare = 8192 - json(&short).chars().count();
        for (more, accepted) in [(spare, true), (spare + 1, false)] {
            let mut context = short.clone();
            context.insert("b", format!("{filler}{}", "x".repeat(more)));
            let json = json(&context);
            assert_eq!(json.chars().count() <= 8192, accepted);
            assert_eq!(EncryptionContext::from_json(&json).is_ok(), accepted);
            let request = Request::Encrypt(Encrypt {
                key: key.clone(),
                plaintext: SecretBytes::copied(b"x"),
                context,
            });
            let reply = kms.ask(request);
            assert_eq!(reply.is_ok(), accepted, "{filler:?}: {reply:?}");
            assert!(accepted || reply == Err("InvalidParameter"));
        }
    }
}

#[test]
fn a_key_has_at_most_twenty_tags() {
    let mut kms = Kms::new();
    let key = text(kms.key());
    let tags = |names: core::ops::Range<u32>| Request::TagResource {
        key: key.clone(),
        tags: names
            .map(|name| Tag {
                key: name.to_string(),
                value: "v".repeat(128),
            })
            .collect(),
    };
    assert!(kms.ask(tags(0..20)).is_ok());
    assert!(kms.ask(tags(0..1)).is_ok());
    assert_eq!(kms.ask(tags(20..21)), Err("InvalidParameter"));
    assert_eq!(kms.ask(tags(0..21)), Err("InvalidParameter"));
    let request = Request::UntagResource {
        key: key.clone(),
        names: vec!["3".into()],
    };
    kms.ask(request).unwrap();
    assert!(kms.ask(tags(20..21)).is_ok());
    for (name, value) in [
        ("", "v"),
        ("a b", "v"),
        ("aliyun", "v"),
        ("acs:x", "v"),
        ("é", "v"),
        ("k", "é"),
        (&"k".repeat(129), "v"),
        ("k", &"v".repeat(129)),
    ] {
        let tag = Tag {
            key: name.into(),
            value: value.into(),
        };
        let request = Request::TagResource {
            key: key.clone(),
            tags: vec![tag],
        };
        assert_eq!(kms.ask(request), Err("InvalidParameter"), "{name} {value}");
    }
}

#[test]
fn lists_come_in_pages_by_creation() {
    let mut kms = Kms::new();
    let mut keys: Vec<_> = (0..25)
        .map(|_| {
            kms.now += 1;
            kms.key()
        })
        .collect();
    let mut list = |number, size| match kms.ask(Request::ListKeys(Page::new(number, size).unwrap()))
    {
        Ok(Response::ListKeys(list)) => {
            assert_eq!(list.total, 25);
            list.items
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(list(1, 10), keys[..10]);
    assert_eq!(list(3, 10), keys[20..]);
    assert_eq!(list(4, 10), []);
    assert_eq!(list(u32::MAX, 100), []);
    assert_eq!(list(1, 100), keys);
    keys.sort();
    assert_eq!(
        (Page::new(0, 1), Page::new(1, 0), Page::new(1, 101)),
        (None, None, None)
    );
}

#[test]
fn a_hardware_key_needs_hardware() {
    let mut kms = Kms::new();
    let request = Request::CreateKey(CreateKey {
        protection: crate::kms::key::ProtectionLevel::Hsm,
        ..CreateKey::default()
    });
    assert_eq!(kms.ask(request), Err("ProtectionLevelUnavailable"));
}

/// Fails after so many bytes.
#[derive(Debug)]
struct Failing(usize);

impl RandomSource for Failing {
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), Error> {
        self.0 = self
            .0
            .checked_sub(bytes.len())
            .ok_or_else(|| Error::Unavailable("no randomness".into()))?;
        Rng(self.0 as u64).try_fill_bytes(bytes).unwrap();
        Ok(())
    }
}

#[test]
fn a_random_number_generator_that_fails_changes_nothing() {
    let kms = Kms::new();
    let caller = Caller::new(Principal::Root, Face::Alibaba);
    let now = Now::new(kms.time());
    let request = Request::CreateKey(CreateKey::default());
    let mut bytes = 0;
    loop {
        let mut random = Failing(bytes);
        let outcome = kms
            .state
            .handle(&request, &caller, now, &mut random, &kms.keeper);
        match outcome.reply {
            Ok(_) => break,
            Err(refusal) => assert_eq!(refusal.cause.name(), "Unavailable"),
        }
        assert!(outcome.next.is_none() && outcome.record.is_some());
        bytes += 1;
    }
    // Event id, key id, version id, material, nonce.
    assert_eq!(bytes, 16 + 16 + 16 + 32 + 12);
}

#[test]
fn a_rotation_that_fails_stays_due_and_holds_up_no_other() {
    /// Generates nothing for one key.
    #[derive(Debug)]
    struct Stubborn(SoftwareKeeper, Id);
    use crate::kms::blob::CiphertextBlob;
    use crate::kms::material::{ImportPair, Place, Unwrapped, WrappedMaterial};
    impl MaterialKeeper for Stubborn {
        fn offers(&self, level: crate::kms::key::ProtectionLevel) -> bool {
            self.0.offers(level)
        }
        fn generate(
            &self,
            place: &Place,
            random: &mut dyn RandomSource,
        ) -> Result<KeptMaterial, KeeperError> {
            if place.key == self.1 {
                return Err(KeeperError::Unavailable("gone".into()));
            }
            self.0.generate(place, random)
        }
        fn load(&self, place: &Place, sealed: Vec<u8>) -> KeptMaterial {
            self.0.load(place, sealed)
        }
        fn seal(
            &self,
            place: &Place,
            material: &KeptMaterial,
            plaintext: &[u8],
            context: &[u8],
            random: &mut dyn RandomSource,
        ) -> Result<Vec<u8>, KeeperError> {
            self.0.seal(place, material, plaintext, context, random)
        }
        fn open(
            &self,
            place: &Place,
            material: &KeptMaterial,
            blob: &CiphertextBlob<'_>,
            context: &[u8],
        ) -> Result<SecretBytes, KeeperError> {
            self.0.open(place, material, blob, context)
        }
        fn import_pair(
            &self,
            place: &Place,
            algorithm: WrappingAlgorithm,
            random: &mut dyn RandomSource,
        ) -> Result<ImportPair, KeeperError> {
            self.0.import_pair(place, algorithm, random)
        }
        fn unwrap_import(
            &self,
            import: &WrappedMaterial<'_>,
            place: &Place,
            store_key: &SecretBytes,
            random: &mut dyn RandomSource,
        ) -> Result<Unwrapped, KeeperError> {
            self.0.unwrap_import(import, place, store_key, random)
        }
        fn destroy(&self, place: &Place, material: &KeptMaterial) -> Result<(), KeeperError> {
            self.0.destroy(place, material)
        }
    }
    let mut kms = Kms::new();
    let mut create = || {
        kms.create(CreateKey {
            rotation: RotationInterval::from_seconds(7 * DAY),
            ..CreateKey::default()
        })
    };
    let (stubborn, other) = (create(), create());
    kms.now += 7 * DAY;
    let keeper = Stubborn(keeper(), stubborn);
    let ticked = kms.state.tick(Now::new(kms.time()), &mut kms.rng, &keeper);
    assert_eq!(
        ticked
            .failed
            .iter()
            .map(|(key, _)| *key)
            .collect::<Vec<_>>(),
        [stubborn]
    );
    assert_eq!(ticked.records.len(), 1);
    kms.state = ticked.next.unwrap();
    assert_eq!(kms.state.next_due(), Some(kms.time()));
    let now = kms.time();
    assert_eq!(kms.describe(other).last_rotation, Some(now));
}
