//! `tests/vectors/kms`: what the KMS's formats were when version 1 was made, and what releases have written. Every later release
//! makes the same bytes from the same random numbers, and opens what earlier ones wrote. All of it by the public interface.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

use openssl::base64;
use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::sign::Signer;
use openssl::symm::{Cipher, decrypt_aead, encrypt_aead};
use prost::Message;
use serde::Deserialize;
use stillkey_core::kms::alias::Namespace;
use stillkey_core::kms::audit::{AuditChain, AuditVerifier, ChainFinding, ChainPosition};
use stillkey_core::kms::blob::{BlobSuite, CiphertextBlob};
use stillkey_core::kms::id::Id;
use stillkey_core::kms::import::{TOKEN_LIFE, WrappingAlgorithm};
use stillkey_core::kms::key::ProtectionLevel;
use stillkey_core::kms::material::{
    ImportCipher, KeeperError, KeptMaterial, MaterialKeeper, Place, SoftwareKeeper, WrappedMaterial,
};
use stillkey_core::kms::request::{Decrypt, Encrypt, ImportKeyMaterial};
use stillkey_core::kms::time::{Now, Time};
use stillkey_core::kms::{Caller, Cause, Face, Principal, Request, Response, State};
use stillkey_core::{EncryptionContext, RandomSource, SecretBytes};
use stillkey_tests::kms::{Draws, OpenSslRsa, Written, known_keys, principal, wire};
use stillkey_tests::random::SysRng;
use stillkey_tests::{hex, json, vector, vector_path};

const KEEPER_KEY: [u8; 32] = [5; 32];
const STORE_KEY: [u8; 32] = [0x11; 32];

// Encryption contexts

#[derive(Deserialize)]
struct Contexts {
    valid: Vec<ContextCase>,
    equal: Vec<Vec<String>>,
    distinct: Vec<String>,
    invalid: Vec<ContextCase>,
}

#[derive(Deserialize)]
struct ContextCase {
    name: String,
    json: Option<String>,
    /// Texts and how often each is repeated, in place of `json`.
    #[serde(default)]
    pieces: Vec<(String, usize)>,
    pairs: Option<BTreeMap<String, String>>,
    canonical: Option<String>,
}

impl ContextCase {
    fn text(&self) -> String {
        let pieces = self.pieces.iter().map(|(text, times)| text.repeat(*times));
        self.json.clone().unwrap_or_else(|| pieces.collect())
    }
}

fn canonical(text: &str) -> Vec<u8> {
    let context = EncryptionContext::from_json(text);
    context
        .unwrap_or_else(|error| panic!("{text}: {error}"))
        .canonical()
        .unwrap()
}

#[test]
fn contexts_have_their_canonical_forms_or_are_refused() {
    let contexts: Contexts = json("kms/context.json");
    assert!(contexts.valid.len() >= 13 && contexts.invalid.len() >= 30);
    for case in &contexts.valid {
        let (text, name) = (case.text(), &case.name);
        let form = canonical(&text);
        if let Some(expected) = &case.canonical {
            assert_eq!(hex::encode(&form), *expected, "{name}");
        }
        if let Some(pairs) = &case.pairs {
            let context: EncryptionContext = pairs.clone().into_iter().collect();
            assert_eq!(
                EncryptionContext::from_json(&text).unwrap(),
                context,
                "{name}"
            );
            assert_eq!(form, context.canonical().unwrap(), "{name}");
        }
    }
    for group in &contexts.equal {
        let forms: BTreeSet<_> = group.iter().map(|text| canonical(text)).collect();
        assert_eq!(forms.len(), 1, "{group:?}");
    }
    let forms: BTreeSet<_> = contexts
        .distinct
        .iter()
        .map(|text| canonical(text))
        .collect();
    assert_eq!(forms.len(), contexts.distinct.len());
    for case in &contexts.invalid {
        let refused = EncryptionContext::from_json(&case.text());
        assert!(refused.is_err(), "{}", case.name);
    }
}

// Blobs

#[derive(Deserialize)]
struct Blob {
    name: String,
    suite: u8,
    material: String,
    key: String,
    version: String,
    salt: String,
    nonce: String,
    context: BTreeMap<String, String>,
    plaintext: String,
    blob: String,
}

impl Blob {
    fn context(&self) -> EncryptionContext {
        self.context.clone().into_iter().collect()
    }

    fn place(&self) -> Place {
        Place {
            key: self.key.parse().unwrap(),
            version: self.version.parse().unwrap(),
            level: ProtectionLevel::Software,
        }
    }

    fn secret(&self) -> SecretBytes {
        SecretBytes::new(hex::decode(&self.material))
    }

    fn bytes(&self) -> Vec<u8> {
        hex::decode(&self.blob)
    }
}

fn blobs(suite: u8) -> Vec<Blob> {
    let blobs: Vec<Blob> = json("kms/blob.json");
    let of_suite: Vec<_> = blobs
        .into_iter()
        .filter(|blob| blob.suite == suite)
        .collect();
    assert!(!of_suite.is_empty());
    of_suite
}

fn keeper() -> SoftwareKeeper {
    SoftwareKeeper::new(
        SecretBytes::copied(&KEEPER_KEY),
        Some(Arc::new(GivenMaterial)),
    )
    .unwrap()
}

/// In place of RSA: what is "wrapped" is the material itself.
#[derive(Debug)]
struct GivenMaterial;

impl ImportCipher for GivenMaterial {
    fn generate(&self, _: WrappingAlgorithm) -> Result<(Vec<u8>, SecretBytes), KeeperError> {
        Ok((b"public".into(), SecretBytes::copied(b"private")))
    }

    fn unwrap(
        &self,
        _: &SecretBytes,
        _: WrappingAlgorithm,
        wrapped: &[u8],
    ) -> Result<Option<SecretBytes>, KeeperError> {
        Ok(Some(SecretBytes::copied(wrapped)))
    }
}

#[test]
fn the_software_keeper_makes_and_opens_every_blob_of_suite_1() {
    for case in blobs(1) {
        let (place, bytes) = (case.place(), case.bytes());
        let context = case.context().canonical().unwrap();
        let material = KeptMaterial::new(Vec::new(), Some(case.secret()));
        let plaintext = hex::decode(&case.plaintext);
        let mut draws = Draws::new(&[&hex::decode(&case.salt), &hex::decode(&case.nonce)]);
        let made = keeper().seal(&place, &material, &plaintext, &context, &mut draws);
        assert_eq!(hex::encode(&made.unwrap()), case.blob, "{}", case.name);
        assert_eq!(draws.left(), 0);
        let blob = CiphertextBlob::inspect(&bytes).unwrap();
        assert_eq!(blob.suite(), BlobSuite::Aes256Gcm);
        assert_eq!((blob.key(), blob.version()), (place.key, place.version));
        assert_eq!(blob.plaintext_len(), plaintext.len());
        let opened = keeper().open(&place, &material, &blob, &context).unwrap();
        assert_eq!(opened.danger_bytes(), plaintext, "{}", case.name);
        let other = keeper().open(&place, &material, &blob, &[0, 0, 0, 1]);
        assert_eq!(other, Err(KeeperError::NotAuthentic));
    }
}

/// Requests need a state whose key has the vector's ids: `prost` and OpenSSL make its snapshot.
#[test]
fn encrypt_and_decrypt_make_and_open_every_blob_of_suite_1() {
    for case in blobs(1) {
        let state = state_with(&[key_of(&case)]);
        let mut draws = Draws::new(&[
            &[0; 16], // The audit record's id.
            &hex::decode(&case.salt),
            &hex::decode(&case.nonce),
        ]);
        let request = Request::Encrypt(Encrypt {
            key: case.key.clone(),
            plaintext: SecretBytes::new(hex::decode(&case.plaintext)),
            context: case.context(),
        });
        let Ok(Response::Encrypt(made)) = ask(&state, &request, &mut draws) else {
            panic!("{}: not encrypted", case.name);
        };
        assert_eq!(hex::encode(&made.blob), case.blob, "{}", case.name);
        let request = Request::Decrypt(Decrypt {
            blob: made.blob,
            context: case.context(),
            key: Some(case.key.clone()),
        });
        let Ok(Response::Decrypt(opened)) = ask(&state, &request, &mut SysRng) else {
            panic!("{}: not decrypted", case.name);
        };
        assert_eq!(hex::encode(opened.plaintext.danger_bytes()), case.plaintext);
    }
}

/// What a hardware security module does, done by OpenSSL: the version's key itself, and no salt.
#[test]
fn a_blob_of_suite_3_opens_under_its_versions_own_key() {
    for case in blobs(3) {
        let bytes = case.bytes();
        let blob = CiphertextBlob::inspect(&bytes).unwrap();
        assert_eq!(blob.suite(), BlobSuite::HsmAes256Gcm);
        let aad = blob.aad(&case.context().canonical().unwrap());
        let (ciphertext, tag) = blob.sealed();
        let secret = case.secret();
        let (key, nonce) = (secret.danger_bytes(), Some(blob.nonce()));
        let cipher = Cipher::aes_256_gcm();
        let opened = decrypt_aead(cipher, key, nonce, &aad, ciphertext, tag).unwrap();
        assert_eq!(hex::encode(&opened), case.plaintext, "{}", case.name);
        let mut made_tag = [0; 16];
        let made = encrypt_aead(cipher, key, nonce, &aad, &opened, &mut made_tag).unwrap();
        assert_eq!((&made[..], &made_tag[..]), (ciphertext, tag));
        // In software there is no such key.
        let material = KeptMaterial::new(Vec::new(), Some(secret));
        let context = case.context().canonical().unwrap();
        let refused = keeper().open(&case.place(), &material, &blob, &context);
        assert_eq!(refused, Err(KeeperError::NotAuthentic));
    }
}

// Import

#[derive(Deserialize)]
struct Imports {
    tokens: Vec<Token>,
    fingerprints: Vec<Fingerprint>,
}

#[derive(Deserialize)]
struct Token {
    name: String,
    store_key: String,
    id: String,
    key: String,
    algorithm: String,
    expires: u64,
    token: String,
}

#[derive(Deserialize)]
struct Fingerprint {
    name: String,
    store_key: String,
    key: String,
    material: String,
    fingerprint: String,
}

#[test]
fn tokens_and_fingerprints_are_made_again() {
    let imports: Imports = json("kms/import.json");
    assert_eq!((imports.tokens.len(), imports.fingerprints.len()), (3, 1));
    for token in &imports.tokens {
        assert_eq!(hex::decode(&token.store_key), STORE_KEY);
        let state = state_with(&[external_key(&token.key)]);
        let request = Request::GetParametersForImport {
            key: token.key.clone(),
            algorithm: token.algorithm.parse().unwrap(),
        };
        let nonce_of_the_private_key = [9; 12];
        let mut draws = Draws::new(&[&[0; 16], &hex::decode(&token.id), &nonce_of_the_private_key]);
        let now = token.expires - TOKEN_LIFE;
        let outcome = handle(&state, &request, now, &mut draws);
        let Ok(Response::GetParametersForImport(parameters)) = outcome.reply else {
            panic!("{}: refused", token.name);
        };
        assert_eq!(
            base64::encode_block(&parameters.token),
            token.token,
            "{}",
            token.name
        );
        assert_eq!(parameters.expires.unix(), token.expires);

        for fingerprint in &imports.fingerprints {
            assert_eq!(hex::decode(&fingerprint.store_key), STORE_KEY);
            assert_eq!(fingerprint.key, token.key);
            let request = Request::ImportKeyMaterial(ImportKeyMaterial {
                key: fingerprint.key.clone(),
                wrapped: hex::decode(&fingerprint.material),
                token: base64::decode_block(&token.token).unwrap(),
                expires: None,
            });
            let next = outcome.next.as_ref().unwrap();
            let imported = handle(next, &request, now, &mut SysRng);
            assert!(imported.reply.is_ok());
            let written = decoded(&imported.next.unwrap());
            let found = hex::encode(&written.keys[0].fingerprint);
            assert_eq!(found, fingerprint.fingerprint, "{}", fingerprint.name);
        }
    }
}

#[test]
fn the_keeper_makes_the_fingerprint_whatever_key_protects_it() {
    let imports: Imports = json("kms/import.json");
    for case in &imports.fingerprints {
        let place = Place {
            key: case.key.parse().unwrap(),
            version: Id::from_bytes([1; 16]),
            level: ProtectionLevel::Software,
        };
        let wrapped = hex::decode(&case.material);
        let wrapped = WrappedMaterial {
            private_key: &KeptMaterial::new(Vec::new(), Some(SecretBytes::copied(b"private"))),
            place: &place,
            algorithm: WrappingAlgorithm::Pkcs1V15,
            wrapped: &wrapped,
        };
        let store_key = SecretBytes::new(hex::decode(&case.store_key));
        let unwrapped = keeper().unwrap_import(&wrapped, &place, &store_key, &mut SysRng);
        let found = hex::encode(&unwrapped.unwrap().fingerprint);
        assert_eq!(found, case.fingerprint, "{}", case.name);
    }
}

// Audit

#[derive(Deserialize)]
struct Audit {
    lines: Vec<Line>,
    chains: Vec<Chain>,
}

#[derive(Deserialize)]
struct Line {
    name: String,
    chain_key: String,
    before: String,
    line: String,
    mac: String,
}

#[derive(Deserialize)]
struct Chain {
    name: String,
    store_key: String,
    chain_key: String,
    instance: String,
    bodies: Vec<serde_json::Value>,
    lines: Vec<String>,
}

fn hmac(key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    let key = PKey::hmac(key).unwrap();
    let mut signer = Signer::new(MessageDigest::sha256(), &key).unwrap();
    for part in parts {
        signer.update(part).unwrap();
    }
    signer.sign_to_vec().unwrap()
}

fn line_mac(chain_key: &[u8], before: &[u8], line: &str) -> Vec<u8> {
    let len = u32::try_from(line.len()).unwrap().to_be_bytes();
    let label = b"stillkey/kms/v1/audit";
    hmac(chain_key, &[label, before, &len, line.as_bytes()])
}

#[test]
fn audit_lines_are_made_again_and_verified() {
    let audit: Audit = json("kms/audit.json");
    for case in &audit.lines {
        let before = hex::decode(&case.before);
        let mac = line_mac(&hex::decode(&case.chain_key), &before, &case.line);
        assert_eq!(hex::encode(&mac), case.mac, "{}", case.name);
    }
    for case in &audit.chains {
        let name = &case.name;
        let store_key = hex::decode(&case.store_key);
        // HKDF by its two steps, RFC 5869.
        let extracted = hmac(&[0; 32], &[&store_key]);
        let chain_key = hmac(&extracted, &[b"stillkey/kms/v1/audit-key", &[1]]);
        assert_eq!(hex::encode(&chain_key), case.chain_key, "{name}");
        let store_key = SecretBytes::new(store_key);
        let namespace = Namespace::new("local", "000000000000").unwrap();
        let instance = case.instance.parse().unwrap();
        let mut chain = AuditChain::new(&store_key, namespace, instance, ChainPosition::START);
        let mut verifier = AuditVerifier::new(&store_key, ChainPosition::START);
        let mut before = vec![0; 32];
        assert_eq!(case.bodies.len(), case.lines.len());
        for (body, line) in case.bodies.iter().zip(&case.lines) {
            assert_eq!(chain.append_body(&body.to_string()), *line, "{name}");
            assert_eq!(verifier.check(line), Ok(()), "{name}");
            assert_eq!(verifier.position(), chain.position());
            let front = line.rsplit_once(",\"mac\":").unwrap().0;
            before = line_mac(&chain_key, &before, &format!("{front}}}"));
            assert_eq!(before, chain.position().mac, "{name}");
        }
    }
}

// What releases have written

fn releases() -> Vec<Written> {
    vec![json("kms/state-1.json")]
}

fn keeper_of(written: &Written) -> SoftwareKeeper {
    let key = SecretBytes::new(hex::decode(&written.keeper_key));
    SoftwareKeeper::new(key, Some(Arc::new(OpenSslRsa))).unwrap()
}

fn snapshot_of(written: &Written) -> Vec<u8> {
    vector(&format!("kms/{}", written.state))
}

fn state_of(written: &Written) -> State {
    State::from_snapshot(&snapshot_of(written), &keeper_of(written)).unwrap()
}

#[test]
fn every_releases_state_reads_back_as_it_was_and_is_written_alike() {
    for written in releases() {
        let (state, keeper) = (state_of(&written), keeper_of(&written));
        let now = Time::from_unix(written.time).unwrap();
        assert_eq!(known_keys(&state, now, &keeper), written.keys);
        assert_eq!(state.namespace().region(), written.region);
        assert_eq!(state.namespace().account(), written.account);
        assert_eq!(
            hex::encode(state.store_key().danger_bytes()),
            written.store_key
        );
        assert_eq!(state.principals().count(), written.policies.len());
        for (name, policy) in &written.policies {
            let found = state.policy(&principal(name)).unwrap();
            assert_eq!(found.text(), policy);
        }
        for gone in &written.deleted {
            let key = gone.id.clone();
            let request = Request::DescribeKey { key };
            let reply = ask_as(&state, &request, "root", written.time, &keeper);
            let deleted = Some(gone.deleted.parse().unwrap());
            assert!(
                matches!(reply, Err(Cause::KeyNotFound { deleted: found, .. }) if found == deleted)
            );
        }
        let bytes = state.to_snapshot();
        assert!(bytes.danger_bytes() == snapshot_of(&written));
    }
}

#[test]
fn every_releases_blobs_open_once_their_keys_are_usable() {
    for written in releases() {
        let keeper = keeper_of(&written);
        let mut state = state_of(&written);
        for blob in &written.blobs {
            let reply = open(&state, blob, written.time, &keeper);
            assert_eq!(reply, blob.at_first, "{}", blob.name);
        }
        let refused = |blob: &&_| at_first(blob) != "opened";
        assert_eq!(written.blobs.iter().filter(refused).count(), 3);
        for request in [
            Request::EnableKey {
                key: the_key(&written, "Disabled"),
            },
            Request::CancelKeyDeletion {
                key: the_key(&written, "PendingDeletion"),
            },
            Request::ImportKeyMaterial(ImportKeyMaterial {
                key: written.import.key.clone(),
                wrapped: hex::decode(&written.import.wrapped),
                token: hex::decode(&written.import.token),
                expires: None,
            }),
        ] {
            let caller = Caller::new(Principal::Root, Face::Alibaba);
            let now = Now::new(Time::from_unix(written.time).unwrap());
            let outcome = state.handle(&request, &caller, now, &mut SysRng, &keeper);
            outcome.reply.unwrap();
            state = outcome.next.unwrap();
        }
        for blob in &written.blobs {
            let reply = open(&state, blob, written.time, &keeper);
            assert_eq!(reply, "opened", "{}", blob.name);
        }
    }
}

fn at_first(blob: &stillkey_tests::kms::KnownBlob) -> &str {
    &blob.at_first
}

/// The only key in this state.
fn the_key(written: &Written, state: &str) -> String {
    let mut of_state = written.keys.iter().filter(|key| key.state == state);
    let id = of_state.next().unwrap().id.clone();
    assert!(of_state.next().is_none());
    id
}

/// "opened" when it opens to its plaintext, else why it is refused.
fn open(
    state: &State,
    blob: &stillkey_tests::kms::KnownBlob,
    now: u64,
    keeper: &SoftwareKeeper,
) -> &'static str {
    let request = Request::Decrypt(Decrypt {
        blob: hex::decode(&blob.blob),
        context: blob.context.clone().into_iter().collect(),
        key: None,
    });
    match ask_as(state, &request, &blob.principal, now, keeper) {
        Ok(Response::Decrypt(opened)) => {
            let plaintext = hex::encode(opened.plaintext.danger_bytes());
            assert_eq!(plaintext, blob.plaintext, "{}", blob.name);
            "opened"
        }
        Ok(other) => panic!("{other:?}"),
        Err(cause) => cause.name(),
    }
}

#[test]
fn every_releases_audit_trail_verifies_to_its_end() {
    for written in releases() {
        let trail = String::from_utf8(vector(&format!("kms/{}", written.audit))).unwrap();
        let store_key = SecretBytes::new(hex::decode(&written.store_key));
        let lines: Vec<_> = trail.lines().collect();
        let mut verifier = AuditVerifier::new(&store_key, ChainPosition::START);
        for line in &lines {
            verifier.check(line).unwrap();
            assert!(serde_json::from_str::<serde_json::Value>(line).is_ok());
        }
        let end = verifier.position();
        assert_eq!((end.seq, lines.len()), (written.audit_end.seq, lines.len()));
        assert_eq!(hex::encode(&end.mac), written.audit_end.mac);
        assert!(lines.len() >= 20);
        for event in ["RotateKey", "DeleteKey", "DeleteExpiredKeyMaterial"] {
            let name = format!(r#""eventName":"{event}""#);
            assert!(lines.iter().any(|line| line.contains(&name)), "{event}");
        }
        // A line may be changed where no other check than its code sees it.
        let mut verifier = AuditVerifier::new(&store_key, ChainPosition::START);
        let changed = lines[0].replace("192.0.2.1", "192.0.2.2");
        assert_ne!(changed, lines[0]);
        let broken = verifier.check(&changed).unwrap_err();
        assert_eq!(broken.finding, ChainFinding::Changed);
    }
}

#[test]
fn every_releases_snapshot_means_the_same_to_another_reader() {
    for written in releases() {
        let (bytes, state) = (snapshot_of(&written), state_of(&written));
        let read = wire::State::decode(&*bytes).unwrap();
        // Nothing is in it that the other reader doesn't know, so it can say all of it.
        let again = State::from_snapshot(&read.encode_to_vec(), &keeper_of(&written)).unwrap();
        assert_eq!(again, state);
        assert_eq!(read.region, written.region);
        assert_eq!(read.account, written.account);
        assert_eq!(hex::encode(&read.store_key), written.store_key);
        assert_eq!(read.longest_deletion_wait, 366);
        assert_eq!(read.keys.len(), written.keys.len());
        for known in &written.keys {
            let id: Id = known.id.parse().unwrap();
            let mut keys = read.keys.iter();
            let key = keys.find(|key| key.id == id.as_bytes()).unwrap();
            check_key(key, known, &read.aliases);
            check_material(key, &written.keeper_key);
        }
        let times = |deleted: u64| Time::from_unix(deleted).unwrap().to_string();
        for (found, gone) in read.tombstones.iter().zip(&written.deleted) {
            let id: Id = gone.id.parse().unwrap();
            assert_eq!(found.id, id.as_bytes());
            assert_eq!(times(found.deleted), gone.deleted);
        }
        assert_eq!(read.tombstones.len(), written.deleted.len());
        let policies = read.policies.iter().map(|policy| {
            let kind = ["root", "user", "service"][usize::try_from(policy.kind).unwrap()];
            (format!("{kind} {}", policy.name), policy.text.clone())
        });
        assert_eq!(policies.collect::<BTreeMap<_, _>>(), written.policies);
        // One of everything: no field that a key can have is missing in all of them.
        let some = |has: fn(&wire::Key) -> bool| assert!(read.keys.iter().any(has));
        some(|key| !key.service.is_empty());
        some(|key| key.versions.len() == 3 && key.rotation != 0 && !key.tags.is_empty());
        some(|key| key.delete_at != 0);
        some(|key| key.material_expires != 0 && !key.fingerprint.is_empty());
        some(|key| {
            key.versions
                .iter()
                .any(|version| version.material.is_none())
        });
        some(|key| key.protection.is_some());
        some(|key| key.imports.len() == 3);
        some(|key| key.versions.iter().any(|version| version.uses == 3));
    }
}

fn check_key(key: &wire::Key, known: &stillkey_tests::kms::KnownKey, aliases: &[wire::Alias]) {
    let time = |unix: u64| Time::from_unix(unix).unwrap().to_string();
    let maybe = |unix: u64| (unix != 0).then(|| time(unix));
    assert_eq!(key.description, known.description);
    assert_eq!(time(key.created), known.created);
    let states = ["Enabled", "Disabled", "PendingDeletion", "PendingImport"];
    assert_eq!(states[usize::try_from(key.state).unwrap()], known.state);
    let origin = ["Generated", "External"][usize::try_from(key.origin).unwrap()];
    assert_eq!(origin, known.origin);
    assert_eq!((key.level, known.protection.as_str()), (0, "SOFTWARE"));
    assert_eq!(maybe(key.delete_at), known.delete_at);
    assert_eq!(maybe(key.material_expires), known.material_expires);
    assert_eq!(key.protection, known.deletion_protection);
    assert_eq!(key.tags, known.tags);
    let interval = (key.rotation != 0).then(|| format!("{}s", key.rotation));
    assert_eq!(interval, known.rotation_interval);
    let creator = match key.service.as_str() {
        "" => "111122223333".into(),
        service => service.to_uppercase(),
    };
    assert_eq!(creator, known.creator);
    assert_eq!(key.versions.len(), known.versions.len());
    for (version, known) in key.versions.iter().zip(&known.versions) {
        let id: Id = known.id.parse().unwrap();
        assert_eq!(version.id, id.as_bytes());
        assert_eq!(time(version.created), known.created);
        assert_eq!(
            (version.last_used != 0).then_some(version.last_used),
            known.last_used
        );
        assert_eq!(version.uses, known.uses);
    }
    let mut names: Vec<_> = aliases
        .iter()
        .filter(|alias| alias.key == key.id)
        .map(|alias| alias.name.as_str())
        .collect();
    let mut known: Vec<_> = known.aliases.iter().map(String::as_str).collect();
    names.sort_unstable();
    known.sort_unstable();
    assert_eq!(names, known);
}

/// Material and private keys of imports open by OpenSSL, bound to their ids.
fn check_material(key: &wire::Key, keeper_key: &str) {
    let unseal = |id: &[u8], sealed: &[u8]| {
        let (nonce, rest) = sealed.split_at(12);
        let (body, tag) = rest.split_at(rest.len() - 16);
        let aad = [&key.id, id].concat();
        let keeper_key = hex::decode(keeper_key);
        decrypt_aead(
            Cipher::aes_256_gcm(),
            &keeper_key,
            Some(nonce),
            &aad,
            body,
            tag,
        )
        .unwrap()
    };
    for version in &key.versions {
        if let Some(material) = &version.material {
            assert_eq!(unseal(&version.id, material).len(), 32);
        }
    }
    for import in &key.imports {
        let private_key = unseal(&import.id, &import.private_key);
        PKey::private_key_from_der(&private_key).unwrap();
    }
}

// The second implementation

#[test]
fn the_second_implementation_finds_no_difference() {
    let output = verify(&vector_path("kms"));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success() && said.contains(" checks, no difference ("),
        "tests/setup python installs what verify.py needs. {said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn the_second_implementation_finds_a_difference_where_there_is_one() {
    let copy = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(vector_path("kms")).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, copy.path().join(path.file_name().unwrap())).unwrap();
    }
    assert!(verify(copy.path()).status.success());
    // A code, a ciphertext, a token, a canonical form, a plaintext, a byte of each golden file.
    for (name, digits) in [
        ("audit.json", "5259e79bcdb05c6b"),
        ("blob.json", "05a4f664dd55f1e2"),
        ("import.json", "f241e0d2de9fea54"),
        ("context.json", "4b6579310000"),
        ("state-1.json", "\"blob\": \"9a4c4b4d0101000"),
        ("audit-1.jsonl", "192.0.2.1"),
    ] {
        let path = copy.path().join(name);
        let right = std::fs::read_to_string(&path).unwrap();
        let at = right
            .find(digits)
            .unwrap_or_else(|| panic!("{name} has no {digits}"));
        let mut changed = right.clone().into_bytes();
        let last = at + digits.len() - 1;
        changed[last] = if changed[last] == b'1' { b'2' } else { b'1' };
        std::fs::write(&path, changed).unwrap();
        let output = verify(copy.path());
        assert_eq!(output.status.code(), Some(1), "{name}: {output:?}");
        std::fs::write(&path, right).unwrap();
    }
    assert!(verify(copy.path()).status.success());
}

fn verify(directory: &Path) -> Output {
    Command::new("python3")
        .arg("-B") // Leaves nothing beside the files.
        .arg(vector_path("kms/verify.py"))
        .arg(directory)
        .output()
        .unwrap()
}

// Helpers

fn key_of(case: &Blob) -> wire::Key {
    let place = case.place();
    let nonce = [3; 12];
    let aad = [place.key.as_bytes().as_slice(), place.version.as_bytes()].concat();
    let (mut tag, secret) = ([0; 16], case.secret());
    let body = encrypt_aead(
        Cipher::aes_256_gcm(),
        &KEEPER_KEY,
        Some(&nonce),
        &aad,
        secret.danger_bytes(),
        &mut tag,
    );
    wire::Key {
        id: place.key.as_bytes().to_vec(),
        versions: vec![wire::Version {
            id: place.version.as_bytes().to_vec(),
            material: Some([&nonce[..], &body.unwrap(), &tag].concat()),
            ..wire::Version::default()
        }],
        ..wire::Key::default()
    }
}

fn external_key(id: &str) -> wire::Key {
    let id: Id = id.parse().unwrap();
    wire::Key {
        id: id.as_bytes().to_vec(),
        origin: 1,
        state: 3,
        ..wire::Key::default()
    }
}

fn state_with(keys: &[wire::Key]) -> State {
    let state = wire::State {
        region: "cn-hangzhou".into(),
        account: "111122223333".into(),
        store_key: STORE_KEY.to_vec(),
        longest_deletion_wait: 30,
        keys: keys.to_vec(),
        ..wire::State::default()
    };
    State::from_snapshot(&state.encode_to_vec(), &keeper()).unwrap()
}

fn decoded(state: &State) -> wire::State {
    wire::State::decode(state.to_snapshot().danger_bytes()).unwrap()
}

fn handle(
    state: &State,
    request: &Request,
    now: u64,
    random: &mut dyn RandomSource,
) -> stillkey_core::kms::Outcome {
    let caller = Caller::new(Principal::Root, Face::Alibaba);
    let now = Now::new(Time::from_unix(now).unwrap());
    state.handle(request, &caller, now, random, &keeper())
}

fn ask(state: &State, request: &Request, random: &mut dyn RandomSource) -> Result<Response, Cause> {
    let reply = handle(state, request, 1_798_765_445, random).reply;
    reply.map_err(|refusal| refusal.cause)
}

fn ask_as(
    state: &State,
    request: &Request,
    by: &str,
    now: u64,
    keeper: &SoftwareKeeper,
) -> Result<Response, Cause> {
    let caller = Caller::new(principal(by), Face::Alibaba);
    let now = Now::new(Time::from_unix(now).unwrap());
    let outcome = state.handle(request, &caller, now, &mut SysRng, keeper);
    outcome.reply.map_err(|refusal| refusal.cause)
}
