//! A snapshot is refused, or reads back to the same and is a state as states are: it stays so through every operation, on every face, and through
//! time. No bytes make anything panic.
//!
//! Input: a snapshot, its material sealed by `stillkey_fuzz::kms::keeper`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stillkey_core::EncryptionContext;
use stillkey_core::SecretBytes;
use stillkey_core::kms::import::WrappingAlgorithm;
use stillkey_core::kms::request::{
    CreateKey, DataKeyLength, Decrypt, Encrypt, GenerateDataKey, ImportKeyMaterial, Page,
    ReEncrypt, Tag,
};
use stillkey_core::kms::rotation::RotationInterval;
use stillkey_core::kms::time::{DAY, Now, Time};
use stillkey_core::kms::{Face, Principal, Request, Response, State};
use stillkey_fuzz::kms::{Kms, keeper};

/// Of a state with many keys, so many are asked about.
const KEYS: usize = 3;

fuzz_target!(|bytes: &[u8]| {
    let state = match State::from_snapshot(bytes, &keeper()) {
        Ok(state) => state,
        Err(error) => {
            assert!(error.to_string().len() < 300, "{error}");
            assert!(error.at.is_none_or(|at| at <= bytes.len()), "{error}");
            return;
        }
    };
    for face in [Face::Alibaba, Face::Aws, Face::Tencent] {
        let mut kms = Kms::new(state.clone(), 1);
        kms.caller.face = face;
        ask_all(&mut kms);
    }
    let mut kms = Kms::new(state, 2);
    for principal in kms.state.principals().cloned().collect::<Vec<_>>() {
        kms.caller.principal = principal;
        let _ = kms.ask(&Request::ListKeys(page()));
    }
    kms.caller.principal = Principal::Service("oss".into());
    let _ = kms.ask(&Request::GenerateDataKey(data_key("alias/acs/oss")));
    kms.now = Now::doubtful(kms.state.next_due().unwrap_or_default());
    kms.tick();
    for _ in 0..3 {
        kms.now = Now::new(kms.state.next_due().unwrap_or_default());
        kms.tick();
    }
    kms.now = Now::new(Time::MAX);
    kms.tick();
});

fn page() -> Page {
    Page::new(1, 100).expect("from 1 on")
}

fn data_key(key: &str) -> GenerateDataKey {
    GenerateDataKey {
        key: key.into(),
        length: DataKeyLength::AES_256,
        context: EncryptionContext::new(),
    }
}

fn ask_all(kms: &mut Kms) {
    let Ok(Response::ListKeys(keys)) = kms.ask(&Request::ListKeys(page())) else {
        panic!("the account's root may list keys");
    };
    let keys: Vec<String> = keys.items.iter().map(ToString::to_string).collect();
    let _ = kms.ask(&Request::ListAliases(page()));
    for key in keys.iter().take(KEYS) {
        ask_about(kms, key);
    }
    let tags = vec![Tag {
        key: "a".into(),
        value: "b".into(),
    }];
    let created = kms.ask(&Request::CreateKey(CreateKey {
        tags,
        ..CreateKey::default()
    }));
    assert!(created.is_ok(), "{created:?}");
}

fn ask_about(kms: &mut Kms, key: &String) {
    let text = || key.clone();
    let described = kms.ask(&Request::DescribeKey { key: text() });
    assert!(
        matches!(described, Ok(Response::DescribeKey(_))),
        "{described:?}"
    );
    use_key(kms, key);
    let token = kms.ask(&Request::GetParametersForImport {
        key: text(),
        algorithm: WrappingAlgorithm::OaepSha256,
    });
    let token = match token {
        Ok(Response::GetParametersForImport(parameters)) => parameters.token,
        _ => Vec::new(),
    };
    for wrapped in [vec![7; 32], b"!".to_vec()] {
        let _ = kms.ask(&Request::ImportKeyMaterial(ImportKeyMaterial {
            key: text(),
            wrapped,
            token: token.clone(),
            expires: None,
        }));
    }
    let alias = String::from("alias/fuzz");
    for request in [
        Request::EnableKey { key: text() },
        Request::CreateKeyVersion { key: text() },
        Request::UpdateRotationPolicy {
            key: text(),
            interval: RotationInterval::from_seconds(100 * DAY),
        },
        Request::CreateAlias {
            alias: alias.clone(),
            key: text(),
        },
        Request::UpdateAlias {
            alias: alias.clone(),
            key: text(),
        },
        Request::TagResource {
            key: text(),
            tags: Vec::new(),
        },
        Request::UntagResource {
            key: text(),
            names: vec!["a".into()],
        },
        Request::SetDeletionProtection {
            key: text(),
            enabled: false,
            description: String::new(),
        },
        Request::UpdateKeyDescription {
            key: text(),
            description: "described".into(),
        },
        Request::ListAliasesByKeyId {
            key: text(),
            page: page(),
        },
        Request::ListResourceTags { key: text() },
        Request::DisableKey { key: text() },
        Request::DeleteKeyMaterial { key: text() },
        Request::ScheduleKeyDeletion {
            key: text(),
            days: 7,
        },
        Request::CancelKeyDeletion { key: text() },
        Request::DeleteAlias { alias },
    ] {
        let _ = kms.ask(&request);
    }
    use_key(kms, key);
}

/// Whatever encrypts also decrypts.
fn use_key(kms: &mut Kms, key: &String) {
    let encrypted = kms.ask(&Request::Encrypt(Encrypt {
        key: key.clone(),
        plaintext: SecretBytes::copied(b"plaintext"),
        context: EncryptionContext::new(),
    }));
    let Ok(Response::Encrypt(encrypted)) = encrypted else {
        return;
    };
    let source = Decrypt {
        blob: encrypted.blob,
        context: EncryptionContext::new(),
        key: Some(key.clone()),
    };
    let Ok(Response::Decrypt(opened)) = kms.ask(&Request::Decrypt(source.clone())) else {
        panic!("encrypted, and not decrypted");
    };
    assert_eq!(opened.plaintext.danger_bytes(), b"plaintext");
    let again = kms.ask(&Request::ReEncrypt(ReEncrypt {
        source,
        destination_key: key.clone(),
        destination_context: EncryptionContext::new(),
    }));
    assert!(again.is_ok(), "{again:?}");
    let request = Request::ListKeyVersions {
        key: key.clone(),
        page: page(),
    };
    let Ok(Response::ListKeyVersions(versions)) = kms.ask(&request) else {
        panic!("the account's root may list versions");
    };
    for version in versions.items.iter().take(3) {
        let described = kms.ask(&Request::DescribeKeyVersion {
            key: key.clone(),
            version: version.version.to_string(),
        });
        assert!(described.is_ok());
    }
}
