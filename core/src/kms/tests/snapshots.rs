//! The state as bytes.

use super::*;
use crate::format::protobuf::{Message, put_bytes, put_bytes_always, put_number};
use crate::kms::VersionUse;
use crate::kms::audit::AuditRecord;
use crate::kms::key::{Key, ProtectionLevel};
use crate::kms::request::Tag;
use crate::kms::rotation::RotationInterval;
use crate::kms::snapshot::NotASnapshot;
use crate::kms::time::DAY;

/// One of everything.
fn full() -> Kms {
    let mut kms = Kms::new();
    let key = kms.create(CreateKey {
        description: "d".into(),
        rotation: RotationInterval::from_seconds(7 * DAY),
        tags: vec![Tag {
            key: "Project".into(),
            value: String::new(),
        }],
        ..CreateKey::default()
    });
    let external = kms.external_key();
    let expires = kms.now + 9;
    kms.import(external, &[7; 32], Some(expires)).unwrap();
    let doomed = text(kms.key());
    for request in [
        Request::CreateAlias {
            alias: "alias/a".into(),
            key: text(key),
        },
        Request::SetDeletionProtection {
            key: text(key),
            enabled: true,
            description: String::new(),
        },
        Request::CreateKeyVersion { key: text(key) },
        Request::ScheduleKeyDeletion {
            key: doomed,
            days: 7,
        },
    ] {
        kms.ask(request).unwrap();
    }
    kms.now += 8 * DAY;
    assert_eq!(
        kms.tick(),
        ["DeleteExpiredKeyMaterial", "DeleteKey", "RotateKey"]
    );
    let user = Principal::User("u".into());
    let policy = Policy::parse(r#"{"Version":"1","Statement":[]}"#).unwrap();
    kms.state = kms.state.with_policy(user, Some(policy));
    let version = kms.describe(key).primary_version.unwrap();
    kms.state = kms.state.with_uses([VersionUse {
        key,
        version,
        day: 20_000,
        count: 3,
    }]);
    kms.state = kms.state.set_longest_deletion_wait(366).unwrap();
    assert_eq!(kms.describe(key).last_used, Some(20_000));
    kms
}

fn reread(bytes: &[u8]) -> Result<State, NotASnapshot> {
    State::from_snapshot(bytes, &keeper())
}

#[test]
fn everything_reads_back_and_is_written_alike() {
    let state = full().state;
    let bytes = state.to_snapshot();
    let again = reread(bytes.danger_bytes()).unwrap();
    assert_eq!(again, state);
    assert_eq!(again.next_due(), state.next_due());
    assert_eq!(again.to_snapshot().danger_bytes(), bytes.danger_bytes());
}

#[test]
fn no_material_stands_in_a_snapshot_as_it_is() {
    let mut kms = Kms::new();
    let key = kms.external_key();
    let material: Vec<u8> = (0..32).map(|byte| byte ^ 0xa5).collect();
    kms.import(key, &material, None).unwrap();
    let bytes = kms.state.to_snapshot();
    let bytes = bytes.danger_bytes();
    assert!(
        !bytes
            .windows(8)
            .any(|window| material.windows(8).any(|part| part == window))
    );
}

#[test]
fn material_that_does_not_open_takes_its_own_version_down_and_no_other() {
    let mut kms = Kms::new();
    let (key, other) = (kms.key(), kms.key());
    let blob = kms.encrypt(&text(key), b"x").unwrap().blob;
    let of_other = kms.encrypt(&text(other), b"y").unwrap().blob;
    let version = CiphertextVersion::of(&blob);
    let mut bytes = kms.state.to_snapshot().danger_bytes().to_vec();
    let at = bytes
        .windows(16)
        .position(|window| window == version.0)
        .unwrap();
    // Tag and length of the id, the time, the material behind it.
    bytes[at + 16 + 6 + 2 + 30] ^= 1;
    kms.state = reread(&bytes).unwrap();
    assert_eq!(kms.decrypt(&blob), Err("DamagedMaterial"));
    assert_eq!(kms.encrypt(&text(key), b"x"), Err("DamagedMaterial"));
    assert_eq!(kms.decrypt(&of_other).unwrap(), b"y");
    // Nothing of it is lost when the state is written again.
    assert_eq!(kms.state.to_snapshot().danger_bytes(), bytes);
}

/// A version's id, as it stands in a blob.
struct CiphertextVersion([u8; 16]);

impl CiphertextVersion {
    fn of(blob: &[u8]) -> Self {
        Self(blob[24..40].try_into().unwrap())
    }
}

#[test]
fn another_keepers_snapshot_opens_without_its_material() {
    let mut kms = Kms::new();
    let key = text(kms.key());
    let bytes = kms.state.to_snapshot();
    kms.keeper = SoftwareKeeper::new(SecretBytes::new(vec![6; 32]), None).unwrap();
    kms.state = State::from_snapshot(bytes.danger_bytes(), &kms.keeper).unwrap();
    assert_eq!(kms.encrypt(&key, b"x"), Err("DamagedMaterial"));
}

#[test]
fn a_field_of_the_future_survives_wherever_it_stands() {
    let kms = full();
    let mut bytes = kms.state.to_snapshot().danger_bytes().to_vec();
    put_bytes(&mut bytes, 1000, b"future");
    let state = reread(&bytes).unwrap();
    assert_eq!(state.to_snapshot().danger_bytes(), bytes);
    // In a key: the last key of the snapshot, with one field more.
    let key = state.keys.values().next_back().unwrap();
    let mut with_more = key.encode();
    put_bytes(&mut with_more, 1000, b"future");
    let (mut old, mut new) = (Vec::new(), Vec::new());
    put_bytes_always(&mut old, 6, &key.encode());
    put_bytes_always(&mut new, 6, &with_more);
    let at = bytes
        .windows(old.len())
        .position(|window| window == old)
        .unwrap();
    bytes.splice(at..at + old.len(), new);
    let state = reread(&bytes).unwrap();
    assert_eq!(state.to_snapshot().danger_bytes(), bytes);
}

#[test]
fn no_cut_or_changed_byte_makes_a_snapshot_of_an_impossible_state() {
    let bytes = full().state.to_snapshot().danger_bytes().to_vec();
    let mut refused = 0;
    for at in 0..bytes.len() {
        for changed in [bytes[at] ^ 1, bytes[at] ^ 0x80, 0, 0xff] {
            let mut changed_bytes = bytes.clone();
            changed_bytes[at] = changed;
            match reread(&changed_bytes) {
                Err(_) => refused += 1,
                Ok(state) => {
                    let again = state.to_snapshot();
                    assert_eq!(reread(again.danger_bytes()).unwrap(), state);
                }
            }
        }
        let _ = reread(&bytes[..at]);
    }
    assert!(refused > bytes.len());
}

/// A snapshot with `fields` more in it.
fn with_fields(state: &State, fields: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = state.to_snapshot().danger_bytes().to_vec();
    fields(&mut bytes);
    bytes
}

/// A snapshot of a KMS with this key alone, which has `fields` more in it.
fn with_key(key: &Key, fields: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut encoded = key.encode();
    fields(&mut encoded);
    with_fields(&Kms::new().state, |bytes| {
        put_number(bytes, 4, START);
        put_bytes(bytes, 6, &encoded);
    })
}

fn one_key(origin: Origin) -> Key {
    let mut kms = Kms::new();
    let key = match origin {
        Origin::Generated => kms.key(),
        Origin::External => kms.external_key(),
    };
    Key::clone(&kms.state.keys[&key])
}

fn refusal(bytes: &[u8]) -> &'static str {
    reread(bytes).unwrap_err().finding
}

/// In proto3, what is 0 or empty isn't there.
#[test]
fn a_field_that_is_0_is_as_if_it_were_not_there() {
    let key = one_key(Origin::Generated);
    for fields in [&[][..], &[3], &[4], &[9], &[10], &[11]] {
        let bytes = with_key(&key, |bytes| {
            for field in fields {
                match field {
                    3 | 4 => put_bytes_always(bytes, (*field).into(), b""),
                    _ => put_zero(bytes, *field),
                }
            }
        });
        let state = reread(&bytes).unwrap();
        assert_eq!(Key::clone(&state.keys[&key.id]), key, "{fields:?}");
        assert_eq!(reread(state.to_snapshot().danger_bytes()), Ok(state));
    }
    let mut version = key.versions[0].encode();
    put_zero(&mut version, 4);
    let mut other = key.clone();
    other.versions.clear();
    let bytes = with_key(&other, |bytes| put_bytes(bytes, 8, &version));
    assert_eq!(
        reread(&bytes).map(|state| Key::clone(&state.keys[&key.id])),
        Ok(key)
    );
}

/// The field `number` with the number 0.
fn put_zero(bytes: &mut Vec<u8>, number: u8) {
    bytes.extend([number << 3, 0]);
}

#[test]
fn a_use_on_the_first_day_of_1970_is_no_day_and_survives() {
    let mut kms = Kms::new();
    let key = kms.key();
    let version = kms.describe(key).primary_version.unwrap();
    let (day, count) = (0, 1);
    kms.state = kms.state.with_uses([VersionUse {
        key,
        version,
        day,
        count,
    }]);
    let bytes = kms.state.to_snapshot();
    assert_eq!(reread(bytes.danger_bytes()).as_ref(), Ok(&kms.state));
    assert_eq!(kms.describe(key).last_used, None);
}

/// Otherwise the next version would be older than the one before it.
#[test]
fn nothing_was_made_after_the_last_change() {
    let kms = full();
    let too_late = "something was made after the last change";
    let bytes = with_fields(&kms.state, |bytes| put_number(bytes, 4, kms.now));
    assert!(reread(&bytes).is_ok());
    let bytes = with_fields(&kms.state, |bytes| put_number(bytes, 4, kms.now - 1));
    assert_eq!(refusal(&bytes), too_late);
    let (key, late) = (one_key(Origin::Generated), START + 1);
    let bytes = with_key(&key, |bytes| put_number(bytes, 2, late));
    assert_eq!(refusal(&bytes), too_late);
    let mut with_version = key.clone();
    Arc::make_mut(&mut with_version.versions[0]).created = Time::from_unix(late).unwrap();
    assert_eq!(refusal(&with_key(&with_version, |_| ())), too_late);
    for (alias, deleted) in [(Some(late), None), (None, Some(late))] {
        let mut bytes = with_key(&key, |_| ());
        let mut message = Vec::new();
        if let Some(created) = alias {
            put_bytes(&mut message, 1, b"alias/a");
            put_bytes(&mut message, 2, key.id.as_bytes());
            put_number(&mut message, 3, created);
            put_bytes(&mut bytes, 7, &message);
        }
        if let Some(deleted) = deleted {
            put_bytes(&mut message, 1, &[9; 16]);
            put_number(&mut message, 2, deleted);
            put_bytes(&mut bytes, 8, &message);
        }
        assert_eq!(refusal(&bytes), too_late);
    }
}

/// It would expire, or be imported, and then be a service's key that was managed.
#[test]
fn the_key_of_a_service_was_not_imported() {
    let mut kms = Kms::new();
    let id = kms.external_key();
    kms.import(id, &[7; 32], Some(START + 9)).unwrap();
    let key = Key::clone(&kms.state.keys[&id]);
    assert!(reread(&with_key(&key, |_| ())).is_ok());
    let bytes = with_key(&key, |bytes| put_bytes(bytes, 3, b"oss"));
    assert_eq!(refusal(&bytes), "the key of a service was managed");
}

#[test]
fn what_was_not_imported_does_not_expire() {
    let key = one_key(Origin::External);
    let bytes = with_key(&key, |bytes| put_number(bytes, 11, START + 9));
    assert_eq!(
        refusal(&bytes),
        "material expires that isn't there or wasn't imported"
    );
}

/// It lives in a module that this keeper doesn't have.
#[test]
fn a_keeper_of_software_makes_no_material_for_a_module() {
    let key = Key {
        level: ProtectionLevel::Hsm,
        rotation: RotationInterval::from_seconds(7 * DAY),
        ..one_key(Origin::Generated)
    };
    let mut kms = Kms::new();
    kms.state = reread(&with_key(&key, |_| ())).unwrap();
    let request = Request::CreateKeyVersion { key: text(key.id) };
    assert_eq!(kms.ask(request), Err("Unavailable"));
    assert_eq!(kms.encrypt(&text(key.id), b"x"), Err("Unavailable"));
    kms.now += 7 * DAY;
    let now = Now::new(kms.time());
    let ticked = kms.state.tick(now, &mut kms.rng, &kms.keeper);
    assert!(ticked.next.is_none());
    assert!(matches!(
        ticked.failed[..],
        [(id, KeeperError::Unavailable(_))] if id == key.id
    ));

    let key = Key {
        level: ProtectionLevel::Hsm,
        ..one_key(Origin::External)
    };
    kms.state = reread(&with_key(&key, |_| ())).unwrap();
    let request = Request::GetParametersForImport {
        key: text(key.id),
        algorithm: WrappingAlgorithm::OaepSha256,
    };
    assert_eq!(kms.ask(request), Err("Unavailable"));
}

#[test]
fn three_versions_of_a_key_take_at_most_400_bytes() {
    let mut kms = Kms::new();
    let empty = kms.state.to_snapshot().danger_bytes().len();
    for _ in 0..10 {
        let key = text(kms.key());
        for _ in 0..2 {
            kms.ask(Request::CreateKeyVersion { key: key.clone() })
                .unwrap();
        }
    }
    let len = kms.state.to_snapshot().danger_bytes().len() - empty;
    assert!(len <= 10 * 400, "{len}");
}

#[test]
fn records_say_what_happened_and_when() {
    let mut kms = Kms::new();
    kms.key();
    let caller = Caller::new(Principal::Root, Face::Alibaba);
    let now = Now::new(kms.time());
    let request = Request::ListKeys(page());
    let outcome = kms
        .state
        .handle(&request, &caller, now, &mut kms.rng, &kms.keeper);
    let record: AuditRecord = outcome.record.unwrap();
    assert_eq!(
        (record.time(), record.event().name()),
        (kms.time(), "ListKeys")
    );
}
