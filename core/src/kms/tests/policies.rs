//! What policies let callers do: the guide's samples, and which resources each operation needs.

use super::*;
use crate::kms::request::{DataKeyLength, GenerateDataKey, ReEncrypt, Tag};
use alloc::format;

const HERE: &str = "acs:kms:cn-hangzhou:111122223333";

fn allowing(statements: &[(&str, &str)]) -> String {
    let statements: Vec<_> = statements
        .iter()
        .map(|(action, resource)| {
            format!(r#"{{"Effect":"Allow","Action":"{action}","Resource":"{resource}"}}"#)
        })
        .collect();
    format!(
        r#"{{"Version":"1","Statement":[{}]}}"#,
        statements.join(",")
    )
}

fn generate(key: &str) -> GenerateDataKey {
    GenerateDataKey {
        key: key.into(),
        length: DataKeyLength::AES_128,
        context: EncryptionContext::new(),
    }
}

#[test]
fn without_a_policy_a_user_may_nothing_but_ask_for_the_regions() {
    let mut kms = Kms::new();
    let key = text(kms.key());
    kms.principal = Principal::User("nobody".into());
    assert_eq!(kms.encrypt(&key, b"x"), Err("NotAllowed"));
    assert_eq!(kms.ask(Request::ListKeys(page())), Err("NotAllowed"));
    assert_eq!(
        kms.ask(Request::GenerateRandom(DataKeyLength::AES_256)),
        Err("NotAllowed")
    );
    assert!(kms.ask(Request::DescribeRegions).is_ok());
}

#[test]
fn the_sample_for_everything_allows_everything() {
    let mut kms = Kms::new();
    kms.with_policy(&allowing(&[("kms:*", "*")]));
    let key = kms.key();
    let blob = kms.encrypt(&text(key), b"x").unwrap().blob;
    assert_eq!(kms.decrypt(&blob).unwrap(), b"x");
    kms.ask(Request::ScheduleKeyDeletion {
        key: text(key),
        days: 7,
    })
    .unwrap();
}

#[test]
fn the_sample_for_reading_allows_that_and_no_change() {
    let mut kms = Kms::new();
    let key = text(kms.key());
    let actions =
        r#"["kms:List*","kms:Describe*","kms:Encrypt","kms:Decrypt","kms:GenerateDataKey"]"#;
    kms.with_policy(&format!(
        r#"{{"Version":"1","Statement":[{{"Effect":"Allow","Action":{actions},"Resource":["*"]}}]}}"#
    ));
    let blob = kms.encrypt(&key, b"x").unwrap().blob;
    kms.decrypt(&blob).unwrap();
    for request in [
        Request::ListKeys(page()),
        Request::ListAliases(page()),
        Request::DescribeKey { key: key.clone() },
        Request::GenerateDataKey(generate(&key)),
    ] {
        assert!(kms.ask(request).is_ok());
    }
    for request in [
        Request::GenerateDataKeyWithoutPlaintext(generate(&key)),
        Request::CreateKey(CreateKey::default()),
        Request::DisableKey { key: key.clone() },
        Request::CreateKeyVersion { key: key.clone() },
        Request::CreateAlias {
            alias: "alias/a".into(),
            key: key.clone(),
        },
        Request::GenerateRandom(DataKeyLength::AES_256),
        Request::ReEncrypt(re_encrypt(&blob, &key)),
    ] {
        assert_eq!(kms.ask(request), Err("NotAllowed"));
    }
}

fn re_encrypt(blob: &[u8], key: &str) -> ReEncrypt {
    ReEncrypt {
        source: Decrypt {
            blob: blob.into(),
            context: EncryptionContext::new(),
            key: None,
        },
        destination_key: key.into(),
        destination_context: EncryptionContext::new(),
    }
}

#[test]
fn the_sample_with_a_tag_is_about_cryptography_with_keys_that_have_it() {
    let mut kms = Kms::new();
    let tagged = |value: &str| CreateKey {
        tags: vec![Tag {
            key: "Project".into(),
            value: value.into(),
        }],
        ..CreateKey::default()
    };
    let apollo = text(kms.create(tagged("apollo")));
    let gemini = text(kms.create(tagged("Gemini")));
    let untagged = text(kms.key());
    kms.with_policy(
        r#"{"Version":"1","Statement":[{"Effect":"Allow","Action":["kms:*"],"Resource":["*"],
        "Condition":{"StringEqualsIgnoreCase":{"kms:tag/Project":["Apollo"]}}}]}"#,
    );
    assert!(kms.encrypt(&apollo, b"x").is_ok());
    assert_eq!(kms.encrypt(&gemini, b"x"), Err("NotAllowed"));
    assert_eq!(kms.encrypt(&untagged, b"x"), Err("NotAllowed"));
    assert_eq!(
        kms.ask(Request::DescribeKey {
            key: apollo.clone()
        }),
        Err("NotAllowed")
    );
    assert_eq!(
        kms.ask(Request::DisableKey { key: apollo }),
        Err("NotAllowed")
    );
}

/// Each of the resources is needed, and all together are enough.
fn needs(kms: &Kms, action: &str, resources: &[String], request: impl Fn() -> Request) {
    let ask = |granted: &[(&str, &str)]| {
        let mut kms = Kms {
            state: kms.state.clone(),
            rng: Rng(kms.rng.0),
            ..Kms::new()
        };
        kms.with_policy(&allowing(granted));
        kms.ask(request()).map(drop)
    };
    let all: Vec<_> = resources
        .iter()
        .map(|resource| (action, resource.as_str()))
        .collect();
    assert_eq!(ask(&all), Ok(()), "{action}");
    for missing in 0..all.len() {
        let mut granted = all.clone();
        granted.remove(missing);
        assert_eq!(
            ask(&granted),
            Err("NotAllowed"),
            "{action} without {:?}",
            all[missing]
        );
    }
    // Another action on the same resources is none.
    let other: Vec<_> = all
        .iter()
        .map(|(_, resource)| ("kms>DeleteAlias", *resource))
        .collect();
    assert_eq!(ask(&other), Err("NotAllowed"), "{action}");
}

#[test]
fn operations_on_aliases_need_each_of_their_resources() {
    let mut kms = Kms::new();
    let (old, new) = (text(kms.key()), text(kms.key()));
    let alias = String::from("alias/a");
    let arn = |name: &str| format!("{HERE}:{name}");
    let key_arn = |id: &str| format!("{HERE}:key/{id}");
    needs(
        &kms,
        "kms:CreateAlias",
        &[key_arn(&old), arn("alias/a")],
        || Request::CreateAlias {
            alias: alias.clone(),
            key: old.clone(),
        },
    );
    kms.ask(Request::CreateAlias {
        alias: alias.clone(),
        key: old.clone(),
    })
    .unwrap();
    let all = [key_arn(&old), key_arn(&new), arn("alias/a")];
    needs(&kms, "kms:UpdateAlias", &all, || Request::UpdateAlias {
        alias: alias.clone(),
        key: new.clone(),
    });
    needs(
        &kms,
        "kms:DeleteAlias",
        &[key_arn(&old), arn("alias/a")],
        || Request::DeleteAlias {
            alias: alias.clone(),
        },
    );
    needs(&kms, "kms:ListAliases", &[arn("alias")], || {
        Request::ListAliases(page())
    });
    needs(&kms, "kms:ListAliasesByKeyId", &[key_arn(&old)], || {
        Request::ListAliasesByKeyId {
            key: old.clone(),
            page: page(),
        }
    });
    needs(&kms, "kms:ListKeys", &[arn("key")], || {
        Request::ListKeys(page())
    });
    // By alias, only the key counts.
    needs(&kms, "kms:DescribeKey", &[key_arn(&old)], || {
        Request::DescribeKey { key: alias.clone() }
    });
}

#[test]
fn the_guides_sample_for_a_keys_aliases_names_another_action_and_does_not_allow_it() {
    let mut kms = Kms::new();
    let key = text(kms.key());
    kms.with_policy(&allowing(&[("kms:DeleteAlias", "*")]));
    let request = Request::ListAliasesByKeyId { key, page: page() };
    assert_eq!(kms.ask(request), Err("NotAllowed"));
}

#[test]
fn re_encryption_needs_the_source_and_the_destination() {
    let mut kms = Kms::new();
    let (source, destination) = (text(kms.key()), text(kms.key()));
    let blob = kms.encrypt(&source, b"x").unwrap().blob;
    let (from, to) = (
        format!("{HERE}:key/{source}"),
        format!("{HERE}:key/{destination}"),
    );
    let state = kms.state.clone();
    let mut ask = |granted: &[(&str, &str)]| {
        kms.state = state.clone();
        kms.with_policy(&allowing(granted));
        kms.ask(Request::ReEncrypt(re_encrypt(&blob, &destination)))
            .err()
    };
    let (out, into) = (
        ("kms:ReEncryptFrom", from.as_str()),
        ("kms:ReEncryptTo", to.as_str()),
    );
    assert_eq!(ask(&[out, into]), None);
    assert_eq!(
        ask(&[("kms:ReEncrypt*", &from), ("kms:ReEncrypt*", &to)]),
        None
    );
    assert_eq!(ask(&[out]), Some("NotAllowed"));
    assert_eq!(ask(&[into]), Some("NotAllowed"));
    assert_eq!(ask(&[("kms:ReEncrypt", "*")]), Some("NotAllowed"));
    assert_eq!(
        ask(&[("kms:Decrypt", "*"), ("kms:Encrypt", "*")]),
        Some("NotAllowed")
    );
}

#[test]
fn a_refusal_says_what_is_missing_and_which_statement_denies_it() {
    let mut kms = Kms::new();
    let key = text(kms.key());
    kms.with_policy(
        r#"{"Version":"1","Statement":[
        {"Effect":"Allow","Action":"kms:*","Resource":"*"},
        {"Effect":"Deny","Action":"kms:disablekey","Resource":"*"}]}"#,
    );
    let caller = Caller::new(kms.principal.clone(), Face::Alibaba);
    let request = Request::DisableKey { key: key.clone() };
    let now = Now::new(kms.time());
    let outcome = kms
        .state
        .handle(&request, &caller, now, &mut kms.rng, &kms.keeper);
    let message = outcome.reply.unwrap_err().to_string();
    let expected = format!(
        "DisableKey is refused: user \"u\" needs kms:DisableKey on {HERE}:key/{key}, and statement 2 \
         of its policy denies it"
    );
    assert_eq!(message, expected);
}
