//! Keys of services: made on first use, used by their service alone, managed by nobody.

use super::*;
use crate::kms::request::{DataKeyLength, GenerateDataKey};

fn first_use(kms: &mut Kms, alias: &str) -> Result<Encrypted, &'static str> {
    let request = Request::GenerateDataKeyWithoutPlaintext(GenerateDataKey {
        key: alias.into(),
        length: DataKeyLength::AES_256,
        context: EncryptionContext::new(),
    });
    kms.ask(request).map(|response| match response {
        Response::GenerateDataKeyWithoutPlaintext(encrypted) => encrypted,
        other => panic!("{other:?}"),
    })
}

#[test]
fn a_service_gets_its_key_on_first_use_and_the_same_ever_after() {
    let mut kms = Kms::new();
    kms.principal = Principal::Service("OSS".into());
    let made = first_use(&mut kms, "alias/acs/oss").unwrap();
    assert_eq!(first_use(&mut kms, "alias/acs/oss").unwrap().key, made.key);
    kms.principal = Principal::Service("oss".into());
    assert_eq!(kms.encrypt(&text(made.key), b"x").unwrap().key, made.key);
    kms.decrypt(&made.blob).unwrap();
    kms.principal = Principal::Root;
    let key = kms.describe(made.key);
    assert_eq!(
        (key.creator.as_str(), key.state),
        ("OSS", KeyState::Enabled)
    );
    let Ok(Response::ListKeys(keys)) = kms.ask(Request::ListKeys(page())) else {
        panic!();
    };
    assert_eq!(keys.items, [made.key]);
    let Ok(Response::ListAliases(aliases)) = kms.ask(Request::ListAliases(page())) else {
        panic!();
    };
    assert_eq!(aliases.items[0].name, "alias/acs/oss");
}

#[test]
fn only_its_own_alias_makes_a_service_a_key() {
    let mut kms = Kms::new();
    let oss = Principal::Service("oss".into());
    for (principal, alias) in [
        (oss.clone(), "alias/acs/ecs"),
        (oss.clone(), "alias/acs/oss/x"),
        (oss.clone(), "alias/oss"),
        (Principal::User("oss".into()), "alias/acs/oss"),
        (Principal::Root, "alias/acs/oss"),
    ] {
        kms.principal = principal;
        assert_eq!(first_use(&mut kms, alias), Err("AliasNotFound"), "{alias}");
    }
    kms.principal = Principal::Service("o s".into());
    assert_eq!(first_use(&mut kms, "alias/acs/o s"), Err("InvalidAlias"));
    kms.principal = oss;
    let request = decrypt(b"x");
    assert_eq!(kms.ask(request), Err("InvalidBlob"));
    let key = String::from("alias/acs/oss");
    assert_eq!(kms.ask(Request::DescribeKey { key }), Err("AliasNotFound"));
}

#[test]
fn nobody_else_uses_a_services_key_and_nobody_manages_it() {
    let mut kms = Kms::new();
    let oss = Principal::Service("oss".into());
    kms.principal = oss.clone();
    let made = first_use(&mut kms, "alias/acs/oss").unwrap();
    let id = text(made.key);
    for principal in [Principal::Root, oss, Principal::Service("ecs".into())] {
        let own = matches!(&principal, Principal::Service(code) if code == "oss");
        kms.principal = principal;
        let management = [
            Request::DisableKey { key: id.clone() },
            Request::EnableKey { key: id.clone() },
            Request::ScheduleKeyDeletion {
                key: id.clone(),
                days: 7,
            },
            Request::CreateKeyVersion { key: id.clone() },
            Request::UpdateRotationPolicy {
                key: id.clone(),
                interval: None,
            },
            Request::CreateAlias {
                alias: "alias/mine".into(),
                key: id.clone(),
            },
            Request::TagResource {
                key: id.clone(),
                tags: Vec::new(),
            },
        ];
        for request in management {
            assert_eq!(kms.ask(request), Err("ServiceKey"));
        }
        if !own {
            assert_eq!(kms.encrypt(&id, b"x"), Err("ServiceKey"));
            assert_eq!(kms.decrypt(&made.blob), Err("ServiceKey"));
            assert_eq!(first_use(&mut kms, "alias/acs/oss"), Err("ServiceKey"));
        }
        for request in [
            Request::DeleteAlias {
                alias: "alias/acs/oss".into(),
            },
            Request::UpdateAlias {
                alias: "alias/acs/oss".into(),
                key: id.clone(),
            },
        ] {
            assert_eq!(kms.ask(request), Err("ReservedAlias"));
        }
    }
}

#[test]
fn a_users_key_takes_a_policy_for_a_service() {
    let mut kms = Kms::new();
    let key = text(kms.key());
    kms.principal = Principal::Service("oss".into());
    assert_eq!(kms.encrypt(&key, b"x"), Err("NotAllowed"));
}

/// Gives so many draws, and no more.
#[derive(Debug)]
struct Exhausted(Rng, u32);

impl TryRng for Exhausted {
    type Error = core::fmt::Error;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        Err(core::fmt::Error)
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        Err(core::fmt::Error)
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Self::Error> {
        self.1 = self.1.checked_sub(1).ok_or(core::fmt::Error)?;
        self.0.try_fill_bytes(bytes).map_err(|error| match error {})
    }
}

impl TryCryptoRng for Exhausted {}

#[test]
fn a_first_use_that_is_refused_makes_no_key_and_leaves_no_material() {
    let kms = Kms::new();
    let caller = Caller::new(Principal::Service("oss".into()), Face::Alibaba);
    let request = || {
        Request::GenerateDataKey(GenerateDataKey {
            key: "alias/acs/oss".into(),
            length: DataKeyLength::AES_256,
            context: EncryptionContext::new(),
        })
    };
    let mut refused_late = 0;
    for draws in 0.. {
        let mut random = Exhausted(Rng(0), draws);
        let now = Now::new(kms.time());
        let outcome = kms
            .state
            .handle(&request(), &caller, now, &mut random, &kms.keeper);
        if outcome.reply.is_ok() {
            assert!(outcome.next.is_some() && outcome.discarded.is_empty());
            break;
        }
        assert!(outcome.next.is_none(), "refused after {draws} draws");
        let record = outcome.record.unwrap().body(&namespace());
        assert!(!record.contains("CreatedServiceKeyId"));
        refused_late += outcome.discarded.len();
    }
    // The data key, and what seals it, are drawn after the material.
    assert_eq!(refused_late, 2);
}
