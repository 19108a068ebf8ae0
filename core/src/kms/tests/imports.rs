//! Imported key material: the same for ever, by token only, gone when it is to be gone.

use super::*;
use crate::kms::time::DAY;

#[test]
fn only_the_material_that_was_imported_first_is_imported_ever_again() {
    let mut kms = Kms::new();
    let key = kms.external_key();
    kms.import(key, &[7; 32], None).unwrap();
    let before = kms.describe(key);
    let blob = kms.encrypt(&text(key), b"old").unwrap().blob;
    assert_eq!(kms.import(key, &[8; 32], None), Err("InvalidKeyMaterial"));
    kms.ask(Request::DeleteKeyMaterial { key: text(key) })
        .unwrap();
    assert_eq!(kms.describe(key).state, KeyState::PendingImport);
    assert_eq!(kms.decrypt(&blob), Err("PendingImport"));
    assert_eq!(kms.import(key, &[8; 32], None), Err("InvalidKeyMaterial"));
    kms.now += DAY;
    kms.import(key, &[7; 32], None).unwrap();
    assert_eq!(kms.decrypt(&blob).unwrap(), b"old");
    assert_eq!(kms.describe(key).primary_version, before.primary_version);
    assert_eq!(kms.describe(key).last_rotation, before.last_rotation);
    // Expired is as good as deleted.
    let expires = kms.now + 1;
    kms.import(key, &[7; 32], Some(expires)).unwrap();
    kms.now += 1;
    assert_eq!(kms.tick(), ["DeleteExpiredKeyMaterial"]);
    assert_eq!(kms.import(key, &[8; 32], None), Err("InvalidKeyMaterial"));
    kms.import(key, &[7; 32], None).unwrap();
}

#[test]
fn bad_padding_and_a_wrong_length_are_refused_like_other_material_even_the_first_time() {
    let mut kms = Kms::new();
    let key = kms.external_key();
    for wrong in [&b"!"[..], &[7; 31], &[7; 33], b""] {
        assert_eq!(
            kms.import(key, wrong, None),
            Err("InvalidKeyMaterial"),
            "{wrong:?}"
        );
        assert_eq!(kms.describe(key).state, KeyState::PendingImport);
    }
    kms.import(key, &[7; 32], None).unwrap();
    assert_eq!(kms.import(key, b"!", None), Err("InvalidKeyMaterial"));
}

#[test]
fn a_token_is_good_for_one_key_and_for_a_day_as_often_as_needed() {
    let mut kms = Kms::new();
    let (key, other) = (kms.external_key(), kms.external_key());
    let token = kms.token(key);
    let mut changed = token.clone();
    changed[47] ^= 1;
    let mut foreign = token.clone();
    foreign[0] ^= 1;
    let longer = [token.as_slice(), &[0]].concat();
    for wrong in [changed, foreign, longer, token[..47].to_vec(), Vec::new()] {
        let refused = kms.import_with(key, wrong, &[7; 32], None);
        assert_eq!(refused, Err("InvalidImportToken"));
    }
    let refused = kms.import_with(other, token.clone(), &[7; 32], None);
    assert_eq!(refused, Err("InvalidImportToken"));
    for _ in 0..3 {
        kms.import_with(key, token.clone(), &[7; 32], None).unwrap();
    }
    kms.now += DAY;
    kms.import_with(key, token.clone(), &[7; 32], None).unwrap();
    kms.now += 1;
    let refused = kms.import_with(key, token, &[7; 32], None);
    assert_eq!(refused, Err("ExpiredImportToken"));
}

#[test]
fn the_oldest_of_seventeen_tokens_gives_way() {
    let mut kms = Kms::new();
    let key = kms.external_key();
    let tokens: Vec<_> = (0..17).map(|_| kms.token(key)).collect();
    let refused = kms.import_with(key, tokens[0].clone(), &[7; 32], None);
    assert_eq!(refused, Err("InvalidImportToken"));
    for token in &tokens[1..] {
        kms.import_with(key, token.clone(), &[7; 32], None).unwrap();
    }
}

#[test]
fn importing_again_moves_the_expiry_or_takes_it_away() {
    let mut kms = Kms::new();
    let key = kms.external_key();
    let expires = kms.now + 10;
    kms.import(key, &[7; 32], Some(expires)).unwrap();
    assert_eq!(kms.state.next_due().map(Time::unix), Some(expires));
    kms.import(key, &[7; 32], Some(expires + 5)).unwrap();
    assert_eq!(
        kms.describe(key).material_expires.map(Time::unix),
        Some(expires + 5)
    );
    kms.import(key, &[7; 32], None).unwrap();
    assert_eq!(kms.describe(key).material_expires, None);
    assert_eq!(kms.state.next_due(), None);
    let past = kms.now;
    assert_eq!(
        kms.import(key, &[7; 32], Some(past)),
        Err("InvalidParameter")
    );
}

#[test]
fn a_disabled_key_stays_disabled_over_an_import_and_not_over_a_deletion() {
    let mut kms = Kms::new();
    let key = kms.key_in(Origin::External, KeyState::Disabled);
    kms.import(key, &[7; 32], None).unwrap();
    assert_eq!(kms.describe(key).state, KeyState::Disabled);
    kms.ask(Request::DeleteKeyMaterial { key: text(key) })
        .unwrap();
    assert_eq!(kms.describe(key).state, KeyState::PendingImport);
    kms.import(key, &[7; 32], None).unwrap();
    assert_eq!(kms.describe(key).state, KeyState::Enabled);
}

#[test]
fn material_goes_while_a_deletion_is_pending_and_cancelling_leads_to_pending_import() {
    let mut kms = Kms::new();
    let key = kms.external_key();
    let expires = kms.now + DAY;
    kms.import(key, &[7; 32], Some(expires)).unwrap();
    kms.ask(Request::ScheduleKeyDeletion {
        key: text(key),
        days: 7,
    })
    .unwrap();
    kms.now += 2 * DAY;
    assert_eq!(kms.tick(), ["DeleteExpiredKeyMaterial"]);
    assert_eq!(kms.describe(key).state, KeyState::PendingDeletion);
    kms.ask(Request::CancelKeyDeletion { key: text(key) })
        .unwrap();
    assert_eq!(kms.describe(key).state, KeyState::PendingImport);
    kms.import(key, &[7; 32], None).unwrap();
    assert_eq!(kms.describe(key).state, KeyState::Enabled);
}

#[test]
fn the_same_material_under_two_keys_opens_no_blob_of_the_other() {
    let mut kms = Kms::new();
    let keys = [kms.external_key(), kms.external_key()];
    for key in keys {
        kms.import(key, &[7; 32], None).unwrap();
    }
    let blob = kms.encrypt(&text(keys[0]), b"x").unwrap().blob;
    let other = kms.encrypt(&text(keys[1]), b"x").unwrap().blob;
    // The ids of the other key, before what the first one encrypted.
    let forged = [&other[..40], &blob[40..]].concat();
    assert_eq!(kms.decrypt(&forged), Err("Undecryptable"));
}

#[test]
fn without_rsa_nothing_is_imported_and_everything_else_works() {
    let mut kms = Kms::new();
    kms.keeper = SoftwareKeeper::new(SecretBytes::new(vec![5; 32]), None).unwrap();
    let key = kms.external_key();
    let request = Request::GetParametersForImport {
        key: text(key),
        algorithm: WrappingAlgorithm::OaepSha1,
    };
    assert_eq!(kms.ask(request), Err("InvalidParameter"));
    kms.key();
}
