//! The model from outside: requests in, replies out.

mod imports;
mod policies;
mod service_keys;
mod snapshots;
mod stories;
mod tables;

use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use rand_core::{TryCryptoRng, TryRng};
use sha2::{Digest, Sha256};

use super::alias::Namespace;
use super::id::Id;
use super::import::WrappingAlgorithm;
use super::key::{KeyMetadata, KeyState, Origin};
use super::material::{ImportCipher, KeeperError, SoftwareKeeper};
use super::policy::Policy;
use super::request::{CreateKey, Decrypt, Encrypt, Page};
use super::response::Encrypted;
use super::time::{Now, Time};
use super::{Caller, Face, Principal, Request, Response, State};
use crate::context::EncryptionContext;
use crate::secret::SecretBytes;

const FACES: [Face; 3] = [Face::Alibaba, Face::Aws, Face::Tencent];

/// The SHA-256 of a number that counts up.
#[derive(Debug)]
struct Rng(u64);

impl TryRng for Rng {
    type Error = core::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Self::Error> {
        for chunk in bytes.chunks_mut(32) {
            self.0 += 1;
            let block = Sha256::digest(self.0.to_be_bytes());
            chunk.copy_from_slice(&block[..chunk.len()]);
        }
        Ok(())
    }
}

impl TryCryptoRng for Rng {}

/// In place of RSA: the material is given as it is, behind the private key; padding that is bad
/// begins with `!`.
#[derive(Debug)]
struct NoRsa;

const PRIVATE_KEY: &[u8] = b"private";

impl ImportCipher for NoRsa {
    fn generate(
        &self,
        algorithm: WrappingAlgorithm,
    ) -> Result<(Vec<u8>, SecretBytes), KeeperError> {
        Ok((algorithm.name().into(), SecretBytes::copied(PRIVATE_KEY)))
    }

    fn unwrap(
        &self,
        private_key: &SecretBytes,
        _: WrappingAlgorithm,
        wrapped: &[u8],
    ) -> Result<Option<SecretBytes>, KeeperError> {
        assert_eq!(private_key.danger_bytes(), PRIVATE_KEY);
        Ok((!wrapped.starts_with(b"!")).then(|| SecretBytes::copied(wrapped)))
    }
}

/// A KMS with a clock, and the state that the last request left.
#[derive(Debug)]
struct Kms {
    state: State,
    now: u64,
    rng: Rng,
    keeper: SoftwareKeeper,
    face: Face,
    principal: Principal,
}

/// 2026-01-01T00:00:00Z.
const START: u64 = 1_767_225_600;

fn namespace() -> Namespace {
    Namespace::new("cn-hangzhou", "111122223333").unwrap()
}

fn keeper() -> SoftwareKeeper {
    SoftwareKeeper::new(SecretBytes::new(vec![5; 32]), Some(Arc::new(NoRsa))).unwrap()
}

impl Kms {
    fn new() -> Self {
        Self {
            state: State::new(namespace(), SecretBytes::new(vec![0x11; 32])).unwrap(),
            now: START,
            rng: Rng(0),
            keeper: keeper(),
            face: Face::Alibaba,
            principal: Principal::Root,
        }
    }

    fn of(face: Face) -> Self {
        Self {
            face,
            ..Self::new()
        }
    }

    fn time(&self) -> Time {
        Time::from_unix(self.now).unwrap()
    }

    /// The reply, or the name of the cause for which it was refused. Whatever holds for all
    /// requests is checked.
    fn ask(&mut self, request: Request) -> Result<Response, &'static str> {
        let caller = Caller::new(self.principal.clone(), self.face);
        let now = Now::new(self.time());
        let outcome = self
            .state
            .handle(&request, &caller, now, &mut self.rng, &self.keeper);
        let record = outcome.record.as_ref();
        let error = outcome
            .reply
            .as_ref()
            .err()
            .map(|refusal| refusal.cause.name());
        match record {
            None => assert!(matches!(request, Request::DescribeRegions)),
            Some(record) => assert_eq!(record.error(), error),
        }
        if outcome.reply.is_err() {
            assert!(outcome.next.is_none());
        }
        if let Some(next) = outcome.next {
            assert_ne!(next, self.state);
            let bytes = next.to_snapshot();
            let again = State::from_snapshot(bytes.danger_bytes(), &self.keeper).unwrap();
            assert_eq!(again, next);
            self.state = next;
        }
        outcome.reply.map_err(|refusal| refusal.cause.name())
    }

    fn tick(&mut self) -> Vec<&'static str> {
        let now = Now::new(self.time());
        let ticked = self.state.tick(now, &mut self.rng, &self.keeper);
        assert!(ticked.failed.is_empty());
        if let Some(next) = ticked.next {
            self.state = next;
        }
        ticked
            .records
            .iter()
            .map(|record| record.event().name())
            .collect()
    }

    fn create(&mut self, request: CreateKey) -> Id {
        match self.ask(Request::CreateKey(request)).unwrap() {
            Response::CreateKey(key) => key.key,
            other => panic!("{other:?}"),
        }
    }

    fn key(&mut self) -> Id {
        self.create(CreateKey::default())
    }

    fn external_key(&mut self) -> Id {
        self.create(CreateKey {
            origin: Origin::External,
            ..CreateKey::default()
        })
    }

    /// A key of this origin in this state.
    fn key_in(&mut self, origin: Origin, state: KeyState) -> Id {
        let key = match origin {
            Origin::Generated => self.key(),
            Origin::External => {
                let key = self.external_key();
                if state != KeyState::PendingImport {
                    self.import(key, &[7; 32], None).unwrap();
                }
                key
            }
        };
        let name = key.to_string();
        match state {
            KeyState::Enabled | KeyState::PendingImport => {}
            KeyState::Disabled => {
                self.ask(Request::DisableKey { key: name }).unwrap();
            }
            KeyState::PendingDeletion => {
                let days = 7;
                self.ask(Request::ScheduleKeyDeletion { key: name, days })
                    .unwrap();
            }
        }
        assert_eq!(self.describe(key).state, state);
        key
    }

    fn describe(&mut self, key: Id) -> KeyMetadata {
        match self
            .ask(Request::DescribeKey {
                key: key.to_string(),
            })
            .unwrap()
        {
            Response::DescribeKey(key) => key,
            other => panic!("{other:?}"),
        }
    }

    fn token(&mut self, key: Id) -> Vec<u8> {
        let request = Request::GetParametersForImport {
            key: key.to_string(),
            algorithm: WrappingAlgorithm::OaepSha256,
        };
        match self.ask(request).unwrap() {
            Response::GetParametersForImport(parameters) => parameters.token,
            other => panic!("{other:?}"),
        }
    }

    fn import(
        &mut self,
        key: Id,
        wrapped: &[u8],
        expires: Option<u64>,
    ) -> Result<Response, &'static str> {
        let token = self.token(key);
        self.import_with(key, token, wrapped, expires)
    }

    fn import_with(
        &mut self,
        key: Id,
        token: Vec<u8>,
        wrapped: &[u8],
        expires: Option<u64>,
    ) -> Result<Response, &'static str> {
        self.ask(Request::ImportKeyMaterial(
            super::request::ImportKeyMaterial {
                key: key.to_string(),
                wrapped: wrapped.into(),
                token,
                expires: expires.map(|expires| Time::from_unix(expires).unwrap()),
            },
        ))
    }

    fn encrypt(&mut self, key: &str, plaintext: &[u8]) -> Result<Encrypted, &'static str> {
        let request = Request::Encrypt(Encrypt {
            key: key.into(),
            plaintext: SecretBytes::copied(plaintext),
            context: EncryptionContext::new(),
        });
        self.ask(request).map(|response| match response {
            Response::Encrypt(encrypted) => encrypted,
            other => panic!("{other:?}"),
        })
    }

    fn decrypt(&mut self, blob: &[u8]) -> Result<Vec<u8>, &'static str> {
        self.ask(decrypt(blob)).map(|response| match response {
            Response::Decrypt(opened) => opened.plaintext.danger_bytes().into(),
            other => panic!("{other:?}"),
        })
    }

    /// Gives the user `u` this policy and speaks for it from now on.
    fn with_policy(&mut self, policy: &str) {
        let user = Principal::User("u".into());
        let policy = Policy::parse(policy).unwrap();
        self.state = self.state.with_policy(user.clone(), Some(policy));
        self.principal = user;
    }
}

fn decrypt(blob: &[u8]) -> Request {
    Request::Decrypt(Decrypt {
        blob: blob.into(),
        context: EncryptionContext::new(),
        key: None,
    })
}

fn page() -> Page {
    Page::new(1, 100).unwrap()
}

fn text(id: Id) -> String {
    id.to_string()
}
