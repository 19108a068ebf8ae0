//! Any requests, in any order, by anybody, on any state, at any time: nothing panics, what is true of every state stays true, refusals change
//! nothing, no secret is in a message or record, and every blob that was made opens to its plaintext or is refused for a reason.
//!
//! Input, read by `arbitrary`: a snapshot or none, then steps.
#![no_main]

use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use stillkey_core::kms::blob::CiphertextBlob;
use stillkey_core::kms::import::WrappingAlgorithm;
use stillkey_core::kms::key::Origin;
use stillkey_core::kms::policy::Policy;
use stillkey_core::kms::request::{
    CreateKey, DataKeyLength, Decrypt, Encrypt, GenerateDataKey, ImportKeyMaterial, Page,
    ReEncrypt, Tag,
};
use stillkey_core::kms::rotation::RotationInterval;
use stillkey_core::kms::time::{DAY, Now, Time};
use stillkey_core::kms::{Face, Principal, Request, Response, State, VersionUse};
use stillkey_core::{EncryptionContext, SecretBytes};
use stillkey_fuzz::kms::{Kms, LEVELS, context, empty, keeper, moved, secret_text};

const STEPS: usize = 40;

const POLICIES: [&str; 4] = [
    r#"{"Version":"1","Statement":[{"Effect":"Allow","Action":"kms:*","Resource":"*"}]}"#,
    r#"{"Version":"1","Statement":[{"Effect":"Allow","Action":["kms:List*","kms:Describe*","kms:Encrypt","kms:Decrypt","kms:GenerateDataKey"],"Resource":"*"}]}"#,
    r#"{"Version":"1","Statement":[{"Effect":"Allow","Action":"kms:*","Resource":"*"},{"Effect":"Deny","Action":"*","Resource":"*:alias/*"},{"Effect":"Deny","Action":"kms:ReEncryptTo","Resource":"*"}]}"#,
    r#"{"Version":"1","Statement":[{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringEqualsIgnoreCase":{"kms:tag/a":["b"]}}}]}"#,
];

fuzz_target!(|bytes: &[u8]| {
    // What is left out at the end of the input ends the run.
    let _ = run(&mut Unstructured::new(bytes));
});

/// A blob, and what it opens to.
#[derive(Clone)]
struct Made {
    blob: Vec<u8>,
    plaintext: Option<Vec<u8>>,
    context: EncryptionContext,
}

struct Run {
    kms: Kms,
    keys: Vec<String>,
    aliases: Vec<String>,
    blobs: Vec<Made>,
    /// Also the keys that they are for.
    tokens: Vec<(String, Vec<u8>)>,
    /// What was given to be imported.
    materials: [Vec<u8>; 2],
    /// Whether the keeper can open what is in the snapshot.
    readable: bool,
}

fn run(u: &mut Unstructured<'_>) -> Result<()> {
    let len = usize::from(u.arbitrary::<u16>()?);
    let read = State::from_snapshot(u.bytes(len.min(u.len()))?, &keeper());
    let state = read.unwrap_or_else(|_| empty());
    let mut run = Run {
        kms: Kms::new(state, u.arbitrary()?),
        keys: Vec::new(),
        aliases: [
            "alias/a",
            "alias/b/c",
            "alias/acs/oss",
            "alias/aws/s3",
            "alias/",
        ]
        .map(String::from)
        .to_vec(),
        blobs: Vec::new(),
        tokens: Vec::new(),
        materials: [0x31, 0x32]
            .map(|first| (0..32).map(|at: u8| at.wrapping_mul(37) ^ first).collect()),
        readable: false,
    };
    // Only of a state that was read is it not known whether its material opens.
    run.readable = run.kms.state.key_count() == 0;
    if let Ok(Response::ListKeys(keys)) = run.kms.ask(&Request::ListKeys(page(1, 100))) {
        run.keys.extend(keys.items.iter().map(ToString::to_string));
    }
    for material in run.materials.clone() {
        run.kms.keep_secret(&material);
    }
    for _ in 0..STEPS {
        if u.is_empty() {
            break;
        }
        run.step(u)?;
    }
    Ok(())
}

fn page(number: u32, size: u32) -> Page {
    Page::new(number.max(1), size.clamp(1, Page::MAX_SIZE)).expect("within its limits")
}

impl Run {
    fn step(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        match u.int_in_range(0..=40)? {
            0..=3 => self.circumstances(u)?,
            4 => self.beside_requests(u)?,
            _ => {
                let request = self.request(u)?;
                self.ask(request);
            }
        }
        Ok(())
    }

    /// Who asks, when, and how much randomness there is.
    fn circumstances(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        match u.int_in_range(0..=7)? {
            0 => self.kms.caller.face = *u.choose(&[Face::Alibaba, Face::Aws, Face::Tencent])?,
            1 => {
                self.kms.caller.principal = match u.int_in_range(0..=5)? {
                    0 | 1 => Principal::Root,
                    2 => Principal::User("u".into()),
                    3 => Principal::Service("OSS".into()),
                    4 => Principal::Service(self.text(u)?),
                    _ => Principal::User(self.text(u)?),
                }
            }
            2 => self.kms.caller.source = Some(u.arbitrary::<[u8; 4]>()?.into()),
            3 => self.kms.random.left = Some(u.int_in_range(0..=6)?),
            4 => self.kms.random.left = None,
            _ => {
                const DAYS: i64 = DAY as i64;
                let leaps = [
                    1,
                    -1,
                    59,
                    DAYS - 1,
                    DAYS,
                    DAYS + 1,
                    7 * DAYS,
                    30 * DAYS,
                    800 * DAYS,
                ];
                let time = match u.int_in_range(0..=11)? {
                    9 => u.arbitrary::<u32>()?.into(),
                    10 => self.kms.state.next_due().unwrap_or_default().unix(),
                    11 => Time::MAX.unix(),
                    leap => moved(self.kms.now.time, leaps[leap]).unix(),
                };
                let time = Time::from_unix(time).expect("up to the last");
                let doubtful = u.ratio(1, 8)?;
                self.kms.now = if doubtful {
                    Now::doubtful(time)
                } else {
                    Now::new(time)
                };
                if u.ratio(3, 4)? {
                    self.kms.tick();
                }
            }
        }
        Ok(())
    }

    /// What changes a state without a request.
    fn beside_requests(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let state = &self.kms.state;
        let next = match u.int_in_range(0..=4)? {
            0 | 1 => {
                let text = match u.int_in_range(0..=4)? {
                    4 => self.text(u)?,
                    at => POLICIES[at].into(),
                };
                let principal = match u.int_in_range(0..=2)? {
                    0 => Principal::Root,
                    1 => Principal::User("u".into()),
                    _ => Principal::Service("oss".into()),
                };
                state.with_policy(principal, Policy::parse(&text).ok())
            }
            2 => {
                let Some(blob) = self.blobs.last() else {
                    return Ok(());
                };
                let blob = CiphertextBlob::inspect(&blob.blob).expect("made before");
                state.with_uses([VersionUse {
                    key: blob.key(),
                    version: blob.version(),
                    day: u.arbitrary()?,
                    count: u.arbitrary()?,
                }])
            }
            3 => match state.set_longest_deletion_wait(u.arbitrary::<u16>()?.into()) {
                Some(next) => next,
                None => return Ok(()),
            },
            _ => {
                self.kms.lose_material();
                self.readable = false;
                return Ok(());
            }
        };
        if next != self.kms.state {
            self.kms.change(next);
        }
        Ok(())
    }

    fn ask(&mut self, request: Request) {
        let expected = match &request {
            Request::Decrypt(request) => self.known(&request.blob, &request.context),
            Request::ReEncrypt(request) => {
                self.known(&request.source.blob, &request.source.context)
            }
            _ => None,
        };
        let reply = self.kms.ask(&request);
        if let Some(made) = &expected {
            self.check_opened(&request, made, &reply);
        }
        match reply {
            Ok(Response::CreateKey(key)) => self.keys.push(key.key.to_string()),
            Ok(Response::Encrypt(made)) => {
                let Request::Encrypt(request) = request else {
                    panic!("another response");
                };
                let plaintext = request.plaintext.danger_bytes().to_vec();
                self.made(made.blob, Some(plaintext), request.context);
            }
            Ok(Response::GenerateDataKey(made)) => {
                let Request::GenerateDataKey(request) = request else {
                    panic!("another response");
                };
                assert_eq!(made.plaintext.len(), request.length.bytes());
                let plaintext = made.plaintext.danger_bytes().to_vec();
                self.kms.keep_secret(&plaintext);
                self.made(made.encrypted.blob, Some(plaintext), request.context);
            }
            Ok(Response::GenerateDataKeyWithoutPlaintext(made)) => {
                let Request::GenerateDataKeyWithoutPlaintext(request) = request else {
                    panic!("another response");
                };
                self.made(made.blob, None, request.context);
            }
            Ok(Response::ReEncrypt(made)) => {
                let Request::ReEncrypt(request) = request else {
                    panic!("another response");
                };
                let plaintext = expected.and_then(|made| made.plaintext);
                self.made(made.encrypted.blob, plaintext, request.destination_context);
            }
            Ok(Response::GenerateRandom(bytes)) => self.kms.keep_secret(bytes.danger_bytes()),
            Ok(Response::GetParametersForImport(parameters)) => {
                // Its first half is the import's id, which is said where its private key is damaged.
                self.kms.keep_secret(&parameters.token[16..]);
                self.tokens
                    .push((parameters.key.to_string(), parameters.token));
            }
            Ok(Response::CreateAlias) => {
                if let Request::CreateAlias { alias, .. } = request {
                    self.aliases.push(alias);
                }
            }
            _ => {}
        }
    }

    fn made(&mut self, blob: Vec<u8>, plaintext: Option<Vec<u8>>, context: EncryptionContext) {
        let inspected = CiphertextBlob::inspect(&blob).expect("made just now");
        if let Some(plaintext) = &plaintext {
            assert_eq!(inspected.plaintext_len(), plaintext.len());
        }
        self.blobs.push(Made {
            blob,
            plaintext,
            context,
        });
    }

    /// The blob that was made, where blob and context are as they were.
    fn known(&self, blob: &[u8], context: &EncryptionContext) -> Option<Made> {
        let mut made = self.blobs.iter();
        made.find(|made| made.blob == blob && made.context == *context)
            .cloned()
    }

    fn check_opened(
        &self,
        request: &Request,
        made: &Made,
        reply: &std::result::Result<Response, &'static str>,
    ) {
        match reply {
            Ok(Response::Decrypt(opened)) => {
                if let Some(plaintext) = &made.plaintext {
                    assert_eq!(opened.plaintext.danger_bytes(), plaintext);
                }
            }
            // It was made by this KMS, and nothing in it was changed.
            Err("InvalidBlob" | "Undecryptable") => panic!("its own blob: {request:?}"),
            // No version goes before its key.
            Err("VersionNotFound") => panic!("a version is gone: {request:?}"),
            Err("DamagedMaterial") => assert!(!self.readable, "{request:?}"),
            _ => {}
        }
    }

    fn request(&mut self, u: &mut Unstructured<'_>) -> Result<Request> {
        Ok(match u.int_in_range(0..=36)? {
            0 | 1 => Request::CreateKey(CreateKey {
                description: self.text(u)?,
                origin: *u.choose(&[Origin::Generated, Origin::External])?,
                protection: LEVELS[usize::from(u.ratio(1, 16)?)],
                rotation: self.interval(u)?,
                tags: self.tags(u)?,
            }),
            2 => Request::ListKeys(self.page(u)?),
            3 => Request::DescribeKey { key: self.key(u)? },
            4 => Request::UpdateKeyDescription {
                key: self.key(u)?,
                description: self.text(u)?,
            },
            5 => Request::EnableKey { key: self.key(u)? },
            6 => Request::DisableKey { key: self.key(u)? },
            7 => Request::ScheduleKeyDeletion {
                key: self.key(u)?,
                days: *u.choose(&[7, 30, 6, 31, 366, 367, 0, u32::MAX])?,
            },
            8 => Request::CancelKeyDeletion { key: self.key(u)? },
            9 => Request::SetDeletionProtection {
                key: self.key(u)?,
                enabled: u.arbitrary()?,
                description: self.text(u)?,
            },
            10 | 11 => Request::GetParametersForImport {
                key: self.key(u)?,
                algorithm: *u.choose(WrappingAlgorithm::ALL)?,
            },
            12 | 13 => self.import(u)?,
            14 => Request::DeleteKeyMaterial { key: self.key(u)? },
            15..=17 => Request::Encrypt(Encrypt {
                key: self.key(u)?,
                plaintext: self.plaintext(u)?,
                context: self.context(u)?,
            }),
            18..=20 => Request::Decrypt(self.source(u)?),
            21 | 22 => Request::GenerateDataKey(self.data_key(u)?),
            23 => Request::GenerateDataKeyWithoutPlaintext(self.data_key(u)?),
            24 | 25 => Request::ReEncrypt(ReEncrypt {
                source: self.source(u)?,
                destination_key: self.key(u)?,
                destination_context: self.context(u)?,
            }),
            26 => Request::GenerateRandom(self.length(u)?),
            27 => Request::CreateAlias {
                alias: self.alias(u)?,
                key: self.key(u)?,
            },
            28 => Request::UpdateAlias {
                alias: self.alias(u)?,
                key: self.key(u)?,
            },
            29 => Request::DeleteAlias {
                alias: self.alias(u)?,
            },
            30 => match u.arbitrary()? {
                true => Request::ListAliases(self.page(u)?),
                false => Request::ListAliasesByKeyId {
                    key: self.key(u)?,
                    page: self.page(u)?,
                },
            },
            31 => Request::TagResource {
                key: self.key(u)?,
                tags: self.tags(u)?,
            },
            32 => Request::UntagResource {
                key: self.key(u)?,
                names: self.tags(u)?.into_iter().map(|tag| tag.key).collect(),
            },
            33 => match u.arbitrary()? {
                true => Request::ListResourceTags { key: self.key(u)? },
                false => Request::ListKeyVersions {
                    key: self.key(u)?,
                    page: self.page(u)?,
                },
            },
            34 => match self.blobs.last() {
                Some(made) if u.arbitrary()? => {
                    let blob = CiphertextBlob::inspect(&made.blob).expect("made before");
                    Request::DescribeKeyVersion {
                        key: blob.key().to_string(),
                        version: blob.version().to_string(),
                    }
                }
                _ => Request::DescribeKeyVersion {
                    key: self.key(u)?,
                    version: self.text(u)?,
                },
            },
            35 => match u.arbitrary()? {
                true => Request::CreateKeyVersion { key: self.key(u)? },
                false => Request::DescribeRegions,
            },
            _ => Request::UpdateRotationPolicy {
                key: self.key(u)?,
                interval: self.interval(u)?,
            },
        })
    }

    /// A key that there is or was, in one of the forms that name it; or anything else.
    fn key(&self, u: &mut Unstructured<'_>) -> Result<String> {
        let choice = u.int_in_range(0..=15)?;
        if choice == 0 {
            return self.text(u);
        }
        if choice <= 3 || self.keys.is_empty() {
            return self.alias(u);
        }
        let id = u.choose(&self.keys)?;
        let namespace = self.kms.state.namespace();
        Ok(match choice {
            4 => format!("{namespace}:key/{id}"),
            5 => format!(
                "arn:aws-cn:kms:{}:{}:key/{id}",
                namespace.region(),
                namespace.account()
            ),
            6 => id.to_uppercase(),
            _ => id.clone(),
        })
    }

    fn alias(&self, u: &mut Unstructured<'_>) -> Result<String> {
        Ok(match u.int_in_range(0..=7)? {
            0 => format!("alias/{}", self.text(u)?),
            1 => format!(
                "{}:{}",
                self.kms.state.namespace(),
                u.choose(&self.aliases)?
            ),
            2 => format!("alias/{}", "x".repeat(u.int_in_range(249..=257)?)),
            _ => u.choose(&self.aliases)?.clone(),
        })
    }

    /// A short text, or a long one.
    fn text(&self, u: &mut Unstructured<'_>) -> Result<String> {
        let len = u.int_in_range(0..=12)?.min(u.len());
        let text = String::from_utf8_lossy(u.bytes(len)?).into_owned();
        Ok(match u.ratio(1, 24)? {
            true => text.repeat(8200 / text.len().max(1)),
            false => text,
        })
    }

    fn plaintext(&mut self, u: &mut Unstructured<'_>) -> Result<SecretBytes> {
        let text = secret_text(&mut self.kms.random);
        let len = *u.choose(&[0, 1, 16, 32, 100, 4096, 4097, 6144, 6145])?;
        let plaintext = &text.repeat(len / text.len() + 1).into_bytes()[..len];
        self.kms.keep_secret(plaintext);
        Ok(SecretBytes::copied(plaintext))
    }

    fn context(&self, u: &mut Unstructured<'_>) -> Result<EncryptionContext> {
        let choice = u.arbitrary()?;
        Ok(context(choice, &self.text(u)?))
    }

    /// A blob as it was made, or with something changed; or anything else.
    fn source(&self, u: &mut Unstructured<'_>) -> Result<Decrypt> {
        let key = match u.ratio(1, 8)? {
            true => Some(self.key(u)?),
            false => None,
        };
        let made = match u.choose(&self.blobs) {
            Ok(made) if u.ratio(15, 16)? => made.clone(),
            _ => Made {
                blob: u.arbitrary()?,
                plaintext: None,
                context: EncryptionContext::new(),
            },
        };
        let Made {
            mut blob,
            mut context,
            ..
        } = made;
        match u.int_in_range(0..=7)? {
            0 => {
                let at = usize::from(u.arbitrary::<u16>()?);
                let change: u8 = u.arbitrary()?;
                if let Some(byte) = blob.get_mut(at) {
                    *byte ^= change;
                }
            }
            1 => context = self.context(u)?,
            _ => {}
        }
        Ok(Decrypt { blob, context, key })
    }

    fn data_key(&self, u: &mut Unstructured<'_>) -> Result<GenerateDataKey> {
        Ok(GenerateDataKey {
            key: self.key(u)?,
            length: self.length(u)?,
            context: self.context(u)?,
        })
    }

    fn length(&self, u: &mut Unstructured<'_>) -> Result<DataKeyLength> {
        Ok(DataKeyLength::new(u.int_in_range(0..=1100)?).unwrap_or_default())
    }

    fn interval(&self, u: &mut Unstructured<'_>) -> Result<Option<RotationInterval>> {
        let days = *u.choose(&[0, 0, 7, 90, 365, 366, 730, 731, 2560])?;
        Ok(RotationInterval::from_seconds(days * DAY))
    }

    fn tags(&self, u: &mut Unstructured<'_>) -> Result<Vec<Tag>> {
        let count = *u.choose(&[0, 1, 1, 2, 20, 21])?;
        let (key, value) = match u.arbitrary()? {
            true => ("a".into(), "b".into()),
            false => (self.text(u)?, self.text(u)?),
        };
        let tags = (0..count).map(|number| Tag {
            key: match number {
                0 => key.clone(),
                _ => format!("{key}{number}"),
            },
            value: value.clone(),
        });
        Ok(tags.collect())
    }

    fn page(&self, u: &mut Unstructured<'_>) -> Result<Page> {
        Ok(page(u.arbitrary()?, u.int_in_range(0..=100)?))
    }

    fn import(&self, u: &mut Unstructured<'_>) -> Result<Request> {
        let (key, mut token) = match u.choose(&self.tokens) {
            Ok(token) => token.clone(),
            Err(_) => (self.key(u)?, u.arbitrary()?),
        };
        let wrapped = match u.int_in_range(0..=7)? {
            0 => b"!".to_vec(),
            1 => u.arbitrary()?,
            2 | 3 => self.materials[1].clone(),
            _ => self.materials[0].clone(),
        };
        let key = match u.ratio(1, 16)? {
            true => self.key(u)?,
            false => key,
        };
        if u.ratio(1, 16)? {
            token.truncate(u.int_in_range(0..=47)?);
        }
        let expires = match u.int_in_range(0..=3)? {
            0 => Some(self.kms.now.time),
            1 => Some(self.kms.now.time.plus(u.arbitrary::<u32>()?.into())),
            _ => None,
        };
        Ok(Request::ImportKeyMaterial(ImportKeyMaterial {
            key,
            wrapped,
            token,
            expires,
        }))
    }
}
