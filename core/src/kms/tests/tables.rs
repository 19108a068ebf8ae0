//! Every cell of both tables of states, as the vendors print them.

use super::*;
use crate::kms::request::{DataKeyLength, GenerateDataKey, ImportKeyMaterial, ReEncrypt, Tag};
use crate::kms::rotation::RotationInterval;
use crate::kms::time::DAY;

/// Alibaba Cloud's table: an operation, then what it gives in the states Enabled, Disabled,
/// PendingDeletion and PendingImport. `/`: a key whose material is generated / imported. `-`: there is
/// no such key.
const ALIBABA: &str = "
Encrypt                         ok  Disabled  PendingDeletion  PendingImport
GenerateDataKey                 ok  Disabled  PendingDeletion  PendingImport
GenerateDataKeyWithoutPlaintext ok  Disabled  PendingDeletion  PendingImport
Decrypt                         ok  Disabled  PendingDeletion  PendingImport
ReEncryptFrom                   ok  Disabled  PendingDeletion  PendingImport
ReEncryptTo                     ok  Disabled  PendingDeletion  PendingImport
DescribeKey                     ok  ok        ok               ok
ListAliasesByKeyId              ok  ok        ok               ok
DeleteAlias                     ok  ok        ok               ok
ListKeyVersions                 ok  ok        ok               ok
DescribeKeyVersion              ok  ok        ok               ok
ListResourceTags                ok  ok        ok               ok
UpdateKeyDescription            ok  ok        PendingDeletion  ok
TagResource                     ok  ok        PendingDeletion  ok
UntagResource                   ok  ok        PendingDeletion  ok
CreateKeyVersion                ok/UnsupportedOrigin Disabled PendingDeletion PendingImport
SetDeletionProtection           ok  ok        PendingDeletion  ok
EnableKey                       ok  ok  StateModifiedFailed  StateModifiedFailed
DisableKey                      ok  ok  StateModifiedFailed  StateModifiedFailed
ScheduleKeyDeletion             ok  ok  StateModifiedFailed  ok
CancelKeyDeletion               StateModifiedFailed  StateModifiedFailed  ok  StateModifiedFailed
CreateAlias                     ok  ok  StateModifiedFailed  ok
UpdateAlias                     ok  ok  PendingDeletion      ok
GetParametersForImport          UnsupportedOrigin/ok UnsupportedOrigin/ok UnsupportedOrigin/ok ok
DeleteKeyMaterial               UnsupportedOrigin/ok UnsupportedOrigin/ok UnsupportedOrigin/ok ok
ImportKeyMaterial               UnsupportedOrigin/ok UnsupportedOrigin/ok StateModifiedFailed  ok
UpdateRotationPolicy            ok/UnsupportedOrigin Disabled PendingDeletion PendingImport
";

/// AWS's table, for symmetric keys.
const AWS: &str = "
Encrypt                         ok  Disabled  PendingDeletion  PendingImport
Decrypt                         ok  Disabled  PendingDeletion  PendingImport
ReEncryptFrom                   ok  Disabled  PendingDeletion  PendingImport
ReEncryptTo                     ok  Disabled  PendingDeletion  PendingImport
GenerateDataKey                 ok  Disabled  PendingDeletion  PendingImport
GenerateDataKeyWithoutPlaintext ok  Disabled  PendingDeletion  PendingImport
CreateKeyVersion                ok/UnsupportedOrigin Disabled PendingDeletion PendingImport
EnableKey                       ok  ok        PendingDeletion  PendingImport
DisableKey                      ok  ok        PendingDeletion  PendingImport
UpdateRotationPolicy            ok/UnsupportedOrigin Disabled/UnsupportedOrigin PendingDeletion/UnsupportedOrigin UnsupportedOrigin
ScheduleKeyDeletion             ok  ok        PendingDeletion  ok
CreateAlias                     ok  ok        PendingDeletion  ok
UpdateAlias                     ok  ok        PendingDeletion  ok
TagResource                     ok  ok        PendingDeletion  ok
UntagResource                   ok  ok        PendingDeletion  ok
UpdateKeyDescription            ok  ok        PendingDeletion  ok
SetDeletionProtection           ok  ok        PendingDeletion  ok
CancelKeyDeletion               NotPendingDeletion  NotPendingDeletion  ok  NotPendingDeletion
GetParametersForImport          UnsupportedOrigin/ok UnsupportedOrigin/ok UnsupportedOrigin/PendingDeletion ok
ImportKeyMaterial               UnsupportedOrigin/ok UnsupportedOrigin/ok UnsupportedOrigin/PendingDeletion ok
DeleteKeyMaterial               UnsupportedOrigin/ok UnsupportedOrigin/ok UnsupportedOrigin/ok ok
DescribeKey                     ok  ok        ok               ok
ListAliasesByKeyId              ok  ok        ok               ok
DeleteAlias                     ok  ok        ok               ok
ListResourceTags                ok  ok        ok               ok
ListKeyVersions                 ok  ok        ok               ok
DescribeKeyVersion              ok  ok        ok               ok
";

const STATES: [KeyState; 4] = [
    KeyState::Enabled,
    KeyState::Disabled,
    KeyState::PendingDeletion,
    KeyState::PendingImport,
];

#[test]
fn every_cell_of_alibabas_table_holds() {
    check(ALIBABA, Face::Alibaba);
}

#[test]
fn every_cell_of_aws_table_holds() {
    check(AWS, Face::Aws);
}

#[test]
fn alibabas_table_is_tencents_too() {
    check(ALIBABA, Face::Tencent);
}

fn check(table: &str, face: Face) {
    let mut cells = 0;
    for row in table.trim().lines() {
        let mut words = row.split_whitespace();
        let operation = words.next().unwrap();
        for state in STATES {
            let cell = words.next().unwrap();
            let (generated, external) = cell.split_once('/').unwrap_or((cell, cell));
            for (origin, expected) in [(Origin::Generated, generated), (Origin::External, external)]
            {
                if origin == Origin::Generated && state == KeyState::PendingImport {
                    continue;
                }
                // Where both origins stand in one cell, the state is judged before the origin.
                let found = result(face, operation, origin, state);
                assert_eq!(found, expected, "{face:?} {operation} {state:?} {origin:?}");
                cells += 1;
            }
        }
        assert_eq!(words.next(), None, "{row}");
    }
    assert_eq!(cells, table.trim().lines().count() * 7);
}

/// What an operation gives on a key in this state: `ok`, or the name of the cause.
fn result(face: Face, operation: &str, origin: Origin, state: KeyState) -> &'static str {
    let mut kms = Kms::of(face);
    // A blob of a key that can't encrypt has to be made before it gets there.
    let other = kms.key();
    let blob_of_other = kms.encrypt(&text(other), b"x").unwrap().blob;
    let key = match (operation, origin) {
        ("Decrypt" | "ReEncryptFrom", Origin::Generated) => kms.key(),
        ("Decrypt" | "ReEncryptFrom", Origin::External) => {
            let key = kms.external_key();
            kms.import(key, &[7; 32], None).unwrap();
            key
        }
        _ => kms.key_in(origin, state),
    };
    let mut blob = Vec::new();
    if matches!(operation, "Decrypt" | "ReEncryptFrom") {
        blob = kms.encrypt(&text(key), b"x").unwrap().blob;
        let name = text(key);
        match state {
            KeyState::Enabled => {}
            KeyState::Disabled => drop(kms.ask(Request::DisableKey { key: name }).unwrap()),
            KeyState::PendingDeletion => {
                drop(
                    kms.ask(Request::ScheduleKeyDeletion { key: name, days: 7 })
                        .unwrap(),
                );
            }
            KeyState::PendingImport => {
                drop(kms.ask(Request::DeleteKeyMaterial { key: name }).unwrap());
            }
        }
    }
    // An alias on the key, whatever its state: moved there by the one whose table allows it, or made
    // before.
    let alias = String::from("alias/a");
    if operation == "DeleteAlias" {
        kms = Kms::of(face);
        return delete_alias(&mut kms, origin, state);
    }
    if operation == "UpdateAlias" {
        let (alias, key) = (alias.clone(), text(other));
        kms.ask(Request::CreateAlias { alias, key }).unwrap();
    }
    let id = text(key);
    let re_encrypt = |blob: Vec<u8>, destination_key: String| {
        Request::ReEncrypt(ReEncrypt {
            source: Decrypt {
                blob,
                context: EncryptionContext::new(),
                key: None,
            },
            destination_key,
            destination_context: EncryptionContext::new(),
        })
    };
    let generate = || GenerateDataKey {
        key: id.clone(),
        length: DataKeyLength::AES_256,
        context: EncryptionContext::new(),
    };
    let key = id.clone();
    let request = match operation {
        "Encrypt" => Request::Encrypt(Encrypt {
            key,
            plaintext: SecretBytes::copied(b"x"),
            context: EncryptionContext::new(),
        }),
        "Decrypt" => decrypt(&blob),
        "GenerateDataKey" => Request::GenerateDataKey(generate()),
        "GenerateDataKeyWithoutPlaintext" => Request::GenerateDataKeyWithoutPlaintext(generate()),
        "ReEncryptFrom" => re_encrypt(blob, text(other)),
        "ReEncryptTo" => re_encrypt(blob_of_other, key),
        "DescribeKey" => Request::DescribeKey { key },
        "ListAliasesByKeyId" => Request::ListAliasesByKeyId { key, page: page() },
        "ListKeyVersions" => Request::ListKeyVersions { key, page: page() },
        "ListResourceTags" => Request::ListResourceTags { key },
        "DescribeKeyVersion" => {
            let version = kms.describe(id.parse().unwrap()).primary_version;
            let Some(version) = version else {
                // There is no version to be described.
                return "ok";
            };
            let version = text(version);
            Request::DescribeKeyVersion { key, version }
        }
        "UpdateKeyDescription" => Request::UpdateKeyDescription {
            key,
            description: "d".into(),
        },
        "TagResource" => Request::TagResource {
            key,
            tags: vec![Tag {
                key: "t".into(),
                value: "v".into(),
            }],
        },
        "UntagResource" => Request::UntagResource {
            key,
            names: vec!["t".into()],
        },
        "CreateKeyVersion" => Request::CreateKeyVersion { key },
        "SetDeletionProtection" => Request::SetDeletionProtection {
            key,
            enabled: true,
            description: "d".into(),
        },
        "EnableKey" => Request::EnableKey { key },
        "DisableKey" => Request::DisableKey { key },
        "ScheduleKeyDeletion" => Request::ScheduleKeyDeletion { key, days: 7 },
        "CancelKeyDeletion" => Request::CancelKeyDeletion { key },
        "CreateAlias" => Request::CreateAlias { alias, key },
        "UpdateAlias" => Request::UpdateAlias { alias, key },
        "GetParametersForImport" => Request::GetParametersForImport {
            key,
            algorithm: WrappingAlgorithm::OaepSha1,
        },
        "DeleteKeyMaterial" => Request::DeleteKeyMaterial { key },
        "ImportKeyMaterial" => return import(face, origin, state),
        "UpdateRotationPolicy" => Request::UpdateRotationPolicy {
            key,
            interval: RotationInterval::from_seconds(365 * DAY),
        },
        other => panic!("{other}"),
    };
    kms.ask(request).err().unwrap_or("ok")
}

fn delete_alias(kms: &mut Kms, origin: Origin, state: KeyState) -> &'static str {
    let key = match origin {
        Origin::Generated => kms.key(),
        Origin::External => kms.external_key(),
    };
    let alias = String::from("alias/a");
    let (name, key_id) = (alias.clone(), text(key));
    kms.ask(Request::CreateAlias {
        alias: name,
        key: key_id,
    })
    .unwrap();
    if origin == Origin::External && state != KeyState::PendingImport {
        kms.import(key, &[7; 32], None).unwrap();
    }
    let key = text(key);
    match state {
        KeyState::Disabled => drop(kms.ask(Request::DisableKey { key }).unwrap()),
        KeyState::PendingDeletion => {
            drop(
                kms.ask(Request::ScheduleKeyDeletion { key, days: 7 })
                    .unwrap(),
            );
        }
        _ => {}
    }
    kms.ask(Request::DeleteAlias { alias })
        .err()
        .unwrap_or("ok")
}

/// With a token that was made while it could be.
fn import(face: Face, origin: Origin, state: KeyState) -> &'static str {
    let mut kms = Kms::of(face);
    let mut token = Vec::new();
    let key = if origin == Origin::External {
        let key = kms.external_key();
        token = kms.token(key);
        if state != KeyState::PendingImport {
            kms.import_with(key, token.clone(), &[7; 32], None).unwrap();
        }
        let name = text(key);
        match state {
            KeyState::Disabled => drop(kms.ask(Request::DisableKey { key: name }).unwrap()),
            KeyState::PendingDeletion => {
                drop(
                    kms.ask(Request::ScheduleKeyDeletion { key: name, days: 7 })
                        .unwrap(),
                );
            }
            _ => {}
        }
        key
    } else {
        kms.key_in(origin, state)
    };
    let request = Request::ImportKeyMaterial(ImportKeyMaterial {
        key: text(key),
        wrapped: vec![7; 32],
        token,
        expires: None,
    });
    kms.ask(request).err().unwrap_or("ok")
}

#[test]
fn a_cancelled_deletion_leads_where_the_face_says() {
    for face in FACES {
        let expected = match face {
            Face::Alibaba => KeyState::Enabled,
            Face::Aws | Face::Tencent => KeyState::Disabled,
        };
        for origin in [Origin::Generated, Origin::External] {
            let mut kms = Kms::of(face);
            let key = kms.key_in(origin, KeyState::PendingDeletion);
            kms.ask(Request::CancelKeyDeletion { key: text(key) })
                .unwrap();
            let found = kms.describe(key);
            assert_eq!((found.state, found.delete_at), (expected, None), "{face:?}");
        }
        let mut kms = Kms::of(face);
        let key = text(kms.external_key());
        let days = 7;
        kms.ask(Request::ScheduleKeyDeletion {
            key: key.clone(),
            days,
        })
        .unwrap();
        kms.ask(Request::CancelKeyDeletion { key: key.clone() })
            .unwrap();
        let found = kms.describe(key.parse().unwrap());
        assert_eq!(found.state, KeyState::PendingImport, "{face:?}");
    }
}
