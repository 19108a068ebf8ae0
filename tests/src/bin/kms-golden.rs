//! Writes what a release of the KMS writes, for later ones to open: `kms-golden NUMBER RELEASE` makes `state-NUMBER.bin`, `state-NUMBER.json`
//! and `audit-NUMBER.jsonl` in `tests/vectors/kms`: a state with one of everything, blobs of its keys, and its audit trail. Files that are there
//! stay as they are: once they are committed, they are frozen.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::sync::Arc;

use stillkey_core::kms::alias::Namespace;
use stillkey_core::kms::audit::{AuditChain, ChainPosition};
use stillkey_core::kms::id::Id;
use stillkey_core::kms::import::WrappingAlgorithm;
use stillkey_core::kms::key::Origin;
use stillkey_core::kms::material::SoftwareKeeper;
use stillkey_core::kms::policy::Policy;
use stillkey_core::kms::request::{
    CreateKey, DataKeyLength, Decrypt, Encrypt, GenerateDataKey, ImportKeyMaterial, Page,
    ReEncrypt, Tag,
};
use stillkey_core::kms::response::{Encrypted, ImportParameters};
use stillkey_core::kms::rotation::RotationInterval;
use stillkey_core::kms::time::{DAY, Now, Time};
use stillkey_core::kms::{Caller, Face, Principal, Request, Response, State, VersionUse};
use stillkey_core::{EncryptionContext, SecretBytes};
use stillkey_tests::kms::{
    ChainEnd, Gone, KnownBlob, KnownImport, OpenSslRsa, Written, known_keys, principal_name,
    wrap_material,
};
use stillkey_tests::random::Seeded;
use stillkey_tests::{hex, vector_path};

/// 2026-12-01T00:00:00Z.
const START: u64 = 1_796_083_200;

type Pairs = &'static [(&'static str, &'static str)];

struct Kms {
    state: State,
    now: u64,
    random: Seeded,
    keeper: SoftwareKeeper,
    caller: Caller,
    chain: AuditChain,
    lines: Vec<String>,
    blobs: Vec<KnownBlob>,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [number, release] = arguments.as_slice() else {
        panic!("usage: kms-golden NUMBER RELEASE");
    };
    let keeper_key: Vec<u8> = (0x80..0xa0).collect();
    let store_key: Vec<u8> = (0x40..0x60).collect();
    let mut kms = Kms::new(&keeper_key, &store_key);
    let (deleted, import) = kms.fill();
    let end = kms.chain.position();
    let policies = kms.state.principals().map(|principal| {
        let policy = kms.state.policy(principal).unwrap();
        (principal_name(principal), policy.text().to_owned())
    });
    let written = Written {
        release: release.clone(),
        keeper_key: hex::encode(&keeper_key),
        store_key: hex::encode(&store_key),
        region: kms.state.namespace().region().into(),
        account: kms.state.namespace().account().into(),
        time: kms.now,
        state: format!("state-{number}.bin"),
        audit: format!("audit-{number}.jsonl"),
        audit_end: ChainEnd {
            seq: end.seq,
            mac: hex::encode(&end.mac),
        },
        keys: known_keys(&kms.state, kms.time(), &kms.keeper),
        deleted,
        policies: policies.collect(),
        import,
        blobs: kms.blobs,
    };
    let lines: String = kms.lines.iter().map(|line| format!("{line}\n")).collect();
    let mut json = serde_json::to_string_pretty(&written).unwrap();
    json.push('\n');
    write(&written.state, kms.state.to_snapshot().danger_bytes());
    write(&written.audit, lines.as_bytes());
    write(&format!("state-{number}.json"), json.as_bytes());
}

fn write(name: &str, bytes: &[u8]) {
    let path = vector_path(&format!("kms/{name}"));
    let file = OpenOptions::new().write(true).create_new(true).open(&path);
    let mut file = file.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    file.write_all(bytes).unwrap();
    println!("{}: {} bytes", path.display(), bytes.len());
}

impl Kms {
    fn new(keeper_key: &[u8], store_key: &[u8]) -> Self {
        let namespace = Namespace::new("cn-hangzhou", "111122223333").unwrap();
        let state = State::new(namespace.clone(), SecretBytes::copied(store_key)).unwrap();
        let mut random = Seeded(1);
        let instance = Id::random(&mut random).unwrap();
        let chain = AuditChain::new(state.store_key(), namespace, instance, ChainPosition::START);
        let keeper_key = SecretBytes::copied(keeper_key);
        let mut caller = Caller::new(Principal::Root, Face::Alibaba);
        caller.source = Some([192, 0, 2, 1].into());
        caller.user_agent = "stillkey-tests".into();
        Self {
            state,
            now: START,
            random,
            keeper: SoftwareKeeper::new(keeper_key, Some(Arc::new(OpenSslRsa))).unwrap(),
            caller,
            chain,
            lines: Vec::new(),
            blobs: Vec::new(),
        }
    }

    fn time(&self) -> Time {
        Time::from_unix(self.now).unwrap()
    }

    fn try_ask(&mut self, request: &Request) -> Result<Response, &'static str> {
        self.now += 60;
        self.caller.request_id = Id::random(&mut self.random).unwrap().to_string();
        let now = Now::new(self.time());
        let outcome = self
            .state
            .handle(request, &self.caller, now, &mut self.random, &self.keeper);
        if let Some(next) = outcome.next {
            self.state = next;
        }
        if let Some(record) = outcome.record {
            self.lines.push(self.chain.append(&record));
        }
        outcome.reply.map_err(|refusal| refusal.cause.name())
    }

    fn ask(&mut self, request: Request) -> Response {
        self.try_ask(&request).unwrap()
    }

    fn refused(&mut self, request: Request, why: &str) {
        assert_eq!(self.try_ask(&request), Err(why));
    }

    fn tick(&mut self, expected: &[&str]) {
        let now = Now::new(self.time());
        let ticked = self.state.tick(now, &mut self.random, &self.keeper);
        assert!(ticked.failed.is_empty());
        let names: Vec<_> = ticked
            .records
            .iter()
            .map(|record| record.event().name())
            .collect();
        assert_eq!(names, expected);
        let lines = ticked
            .records
            .iter()
            .map(|record| self.chain.append(record));
        self.lines.extend(lines);
        self.state = ticked.next.unwrap();
    }

    fn create(&mut self, description: &str, origin: Origin) -> String {
        let response = self.ask(Request::CreateKey(CreateKey {
            description: description.into(),
            origin,
            ..CreateKey::default()
        }));
        let Response::CreateKey(key) = response else {
            panic!("{response:?}");
        };
        key.key.to_string()
    }

    fn keep(&mut self, name: &str, made: Encrypted, plaintext: &[u8], context: Pairs) -> Vec<u8> {
        self.blobs.push(KnownBlob {
            name: name.into(),
            principal: principal_name(&self.caller.principal),
            at_first: "opened".into(),
            context: context
                .iter()
                .map(|(name, value)| ((*name).into(), (*value).into()))
                .collect(),
            plaintext: hex::encode(plaintext),
            blob: hex::encode(&made.blob),
        });
        made.blob
    }

    fn encrypt(&mut self, name: &str, key: &str, plaintext: &[u8], context: Pairs) -> Vec<u8> {
        let response = self.ask(Request::Encrypt(Encrypt {
            key: key.into(),
            plaintext: SecretBytes::copied(plaintext),
            context: context.iter().copied().collect(),
        }));
        let Response::Encrypt(made) = response else {
            panic!("{response:?}");
        };
        self.keep(name, made, plaintext, context)
    }

    fn data_key(&mut self, name: &str, key: &str, bytes: u16, context: Pairs) {
        let response = self.ask(Request::GenerateDataKey(GenerateDataKey {
            key: key.into(),
            length: DataKeyLength::new(bytes).unwrap(),
            context: context.iter().copied().collect(),
        }));
        let Response::GenerateDataKey(made) = response else {
            panic!("{response:?}");
        };
        self.keep(name, made.encrypted, made.plaintext.danger_bytes(), context);
    }

    fn import_parameters(&mut self, key: &str, algorithm: WrappingAlgorithm) -> ImportParameters {
        let key = key.into();
        let response = self.ask(Request::GetParametersForImport { key, algorithm });
        let Response::GetParametersForImport(parameters) = response else {
            panic!("{response:?}");
        };
        parameters
    }

    fn import(
        &mut self,
        key: &str,
        algorithm: WrappingAlgorithm,
        material: &[u8],
        expires_in: Option<u64>,
    ) {
        let parameters = self.import_parameters(key, algorithm);
        let expires = expires_in.map(|seconds| self.time().plus(seconds));
        self.ask(Request::ImportKeyMaterial(ImportKeyMaterial {
            key: key.into(),
            wrapped: wrap_material(&parameters.public_key, algorithm, material),
            token: parameters.token,
            expires,
        }));
    }

    /// Makes one of everything. Gives the keys that are gone, and an import that is still to be done.
    fn fill(&mut self) -> (Vec<Gone>, KnownImport) {
        let app = self.rotated_key();
        self.keys_of_other_states(&app);
        let gone = self.deleted_key();
        let import = self.imported_keys();
        self.service_and_policies(&app);
        let lost = self.chain.append_gap(3, self.time());
        self.lines.push(lost);
        // The last line is a request's again.
        self.ask(Request::ListKeys(Page::default()));
        (vec![gone], import)
    }

    /// A key with three versions, and with all that a key can have.
    fn rotated_key(&mut self) -> String {
        let tag = |key: &str, value: &str| Tag {
            key: key.into(),
            value: value.into(),
        };
        let response = self.ask(Request::CreateKey(CreateKey {
            description: "Three versions · 三个版本 · \"quoted\"\n".into(),
            rotation: RotationInterval::from_seconds(30 * DAY),
            tags: vec![tag("Project", "Apollo"), tag("empty", "")],
            ..CreateKey::default()
        }));
        let Response::CreateKey(key) = response else {
            panic!("{response:?}");
        };
        let key = key.key.to_string();
        for alias in ["alias/MyAppKey", "alias/backup/2026_12-a"] {
            self.ask(Request::CreateAlias {
                alias: alias.into(),
                key: key.clone(),
            });
        }
        let alias = "alias/MyAppKey";
        self.encrypt("nothing, without a context", alias, b"", &[]);
        self.data_key(
            "a data key by the first version",
            &key,
            32,
            &[("Key2", "Value2"), ("Key1", "Value1")],
        );
        self.now += 30 * DAY;
        self.tick(&["RotateKey"]);
        let second = self.encrypt(
            "text by the second version",
            alias,
            "Geheimnis 秘密".as_bytes(),
            &[("", ""), ("ключ", "значение"), ("a\"\\\0", "\u{1f511}")],
        );
        let response = self.ask(Request::CreateKeyVersion { key: key.clone() });
        let Response::CreateKeyVersion(third) = response else {
            panic!("{response:?}");
        };
        let longest: Vec<u8> = (0..=u8::MAX).cycle().take(6144).collect();
        self.encrypt("6144 bytes by the third version", &key, &longest, &[]);
        self.data_key("a data key of 1024 bytes", &key, 1024, &[("a", "")]);
        let source = |context: EncryptionContext| Decrypt {
            blob: second.clone(),
            context,
            key: None,
        };
        // The context is another one, and an alias isn't taken.
        self.refused(
            Request::Decrypt(source(EncryptionContext::new())),
            "Undecryptable",
        );
        let request = Request::DisableKey { key: alias.into() };
        self.refused(request, "AliasUnsupported");
        let context = [("", ""), ("ключ", "значение"), ("a\"\\\0", "\u{1f511}")];
        let response = self.ask(Request::ReEncrypt(ReEncrypt {
            source: source(context.into_iter().collect()),
            destination_key: key.clone(),
            destination_context: [("tenant", "7")].into_iter().collect(),
        }));
        let Response::ReEncrypt(again) = response else {
            panic!("{response:?}");
        };
        let plaintext = "Geheimnis 秘密".as_bytes();
        self.keep(
            "encrypted again",
            again.encrypted,
            plaintext,
            &[("tenant", "7")],
        );
        self.state = self.state.with_uses([VersionUse {
            key: third.key,
            version: third.version,
            day: self.time().day(),
            count: 3,
        }]);
        key
    }

    fn keys_of_other_states(&mut self, app: &str) {
        let disabled = self.create("disabled and protected", Origin::Generated);
        self.encrypt("by a key that is disabled since", &disabled, b"off", &[]);
        self.ask(Request::SetDeletionProtection {
            key: disabled.clone(),
            enabled: true,
            description: "the archive needs it".into(),
        });
        let key = disabled.clone();
        self.refused(
            Request::ScheduleKeyDeletion { key, days: 7 },
            "DeletionProtected",
        );
        self.ask(Request::DisableKey { key: disabled });
        self.blobs.last_mut().unwrap().at_first = "Disabled".into();

        self.state = self.state.set_longest_deletion_wait(366).unwrap();
        let pending = self.create("to be deleted", Origin::Generated);
        self.data_key("by a key that is to be deleted", &pending, 16, &[]);
        let (key, days) = (pending.clone(), 366);
        self.ask(Request::ScheduleKeyDeletion { key, days });
        self.blobs.last_mut().unwrap().at_first = "PendingDeletion".into();
        let key = app.into();
        self.refused(Request::CancelKeyDeletion { key }, "StateModifiedFailed");
    }

    fn deleted_key(&mut self) -> Gone {
        let id = self.create("deleted", Origin::Generated);
        let (key, days) = (id.clone(), 7);
        self.ask(Request::ScheduleKeyDeletion { key, days });
        self.now += 7 * DAY;
        self.tick(&["DeleteKey"]);
        Gone {
            id,
            deleted: self.time().to_string(),
        }
    }

    fn imported_keys(&mut self) -> KnownImport {
        let sha256 = WrappingAlgorithm::OaepSha256;
        let expired = self.create("imported, expired", Origin::External);
        self.import(
            &expired,
            WrappingAlgorithm::OaepSha1,
            &[0x77; 32],
            Some(3600),
        );
        let expiring = self.create("imported, expires", Origin::External);
        self.import(
            &expiring,
            WrappingAlgorithm::Pkcs1V15,
            &[0x33; 32],
            Some(300 * DAY),
        );
        self.encrypt("by imported material", &expiring, b"imported", &[]);

        let erased = self.create("imported, erased", Origin::External);
        let material: Vec<u8> = (0xc0..0xe0).collect();
        self.import(&erased, sha256, &material, None);
        self.encrypt("by material that was erased", &erased, b"erased", &[]);
        let key = erased.clone();
        self.ask(Request::DeleteKeyMaterial { key });
        self.blobs.last_mut().unwrap().at_first = "PendingImport".into();

        self.now += 3600;
        self.tick(&["DeleteExpiredKeyMaterial"]);
        let never = self.create("never imported", Origin::External);
        for algorithm in WrappingAlgorithm::ALL {
            self.import_parameters(&never, *algorithm);
        }
        let parameters = self.import_parameters(&erased, sha256);
        KnownImport {
            key: erased,
            token: hex::encode(&parameters.token),
            wrapped: hex::encode(&wrap_material(&parameters.public_key, sha256, &material)),
            material: hex::encode(&material),
        }
    }

    fn service_and_policies(&mut self, app: &str) {
        let arn = format!("acs:kms:cn-hangzhou:111122223333:key/{app}");
        let policies = BTreeMap::from([
            (
                Principal::User("alice".into()),
                "{\n  \"Version\": \"1\",\n  \"Statement\": [\n    {\"Effect\": \"Allow\", \"Action\": [\"kms:List*\", \"kms:Encrypt\"], \"Resource\": \"*\"},\n    \
                 {\"Effect\": \"Deny\", \"Action\": \"kms:Encrypt\", \"Resource\": \"*\", \"Condition\": {\"StringEqualsIgnoreCase\": {\"kms:tag/Project\": [\"apollo\"]}}}\n  ]\n}\n"
                    .to_owned(),
            ),
            (
                Principal::Service("ecs".into()),
                format!(r#"{{"Version":"1","Statement":[{{"Effect":"Allow","Action":"kms:*","Resource":"{arn}"}}]}}"#),
            ),
        ]);
        for (principal, policy) in policies {
            let policy = Policy::parse(&policy).unwrap();
            self.state = self.state.with_policy(principal, Some(policy));
        }
        self.caller.principal = Principal::Service("oss".into());
        self.caller.face = Face::Aws;
        self.data_key("by a service's own key", "alias/acs/oss", 32, &[]);
        self.caller.principal = Principal::Service("ecs".into());
        self.encrypt("by a service that a policy allows it", app, b"ecs", &[]);
        self.caller.principal = Principal::User("alice".into());
        let request = Encrypt {
            key: app.into(),
            plaintext: SecretBytes::copied(b"denied"),
            context: EncryptionContext::new(),
        };
        self.refused(Request::Encrypt(request), "NotAllowed");
        self.caller.principal = Principal::Root;
        self.caller.face = Face::Alibaba;
    }
}
