//! The audit trail: what was asked and done, in lines that can't be changed, left out or reordered
//! unseen, since each carries a code over itself and all before it.
//!
//! No line has plaintext, key material or a token in it. Ciphertext stands as its SHA-256, and
//! the encryption context as it is: it is no secret.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::net::IpAddr;

use hkdf::Hkdf;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::alias::Namespace;
use super::id::Id;
use super::import;
use super::json::{Json, ObjectWriter};
use super::refusal::{Refusal, shortened};
use super::request::{Caller, Operation, Principal, Request, Tag};
use super::response::{Encrypted, Response};
use super::time::Time;
use crate::context::EncryptionContext;
use crate::secret::SecretBytes;
use crate::stack::wiped;

/// What the KMS does by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnEvent {
    /// An automatic rotation.
    RotateKey,
    /// The end of a pending deletion.
    DeleteKey,
    /// The end of imported material.
    DeleteExpiredKeyMaterial,
}

impl OwnEvent {
    /// As the audit trail writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::RotateKey => "RotateKey",
            Self::DeleteKey => "DeleteKey",
            Self::DeleteExpiredKeyMaterial => "DeleteExpiredKeyMaterial",
        }
    }
}

/// What a record is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A request.
    Call(Operation),
    /// Something that was due.
    Own(OwnEvent),
}

impl Event {
    /// As the audit trail writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Call(operation) => operation.name(),
            Self::Own(event) => event.name(),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Value {
    Text(String),
    Id(Id),
    Number(u64),
    Flag(bool),
    Time(Time),
    Context(EncryptionContext),
    Digest([u8; 32]),
}

type Values = Vec<(&'static str, Value)>;

/// One thing that was asked or done. [`AuditChain::append`] makes it a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRecord {
    id: Id,
    time: Time,
    event: Event,
    /// `None`: the KMS itself.
    caller: Option<(Principal, String, Option<IpAddr>, String)>,
    parameters: Values,
    elements: Values,
    error: Option<(&'static str, String)>,
}

impl AuditRecord {
    pub(super) fn own(id: Id, time: Time, event: OwnEvent, key: Id, version: Option<Id>) -> Self {
        let version = version.map(|version| ("KeyVersionId", Value::Id(version)));
        Self {
            id,
            time,
            event: Event::Own(event),
            caller: None,
            parameters: Vec::new(),
            elements: [("KeyId", Value::Id(key))]
                .into_iter()
                .chain(version)
                .collect(),
            error: None,
        }
    }

    pub(super) fn of_call(
        id: Id,
        time: Time,
        request: &Request,
        caller: &Caller,
        reply: &Result<Response, Refusal>,
    ) -> Self {
        Self {
            id,
            time,
            event: Event::Call(request.operation()),
            caller: Some((
                caller.principal.clone(),
                caller.request_id.clone(),
                caller.source,
                caller.user_agent.clone(),
            )),
            parameters: parameters(request),
            elements: reply.as_ref().map(elements).unwrap_or_default(),
            error: reply
                .as_ref()
                .err()
                .map(|refusal| (refusal.cause.name(), refusal.to_string())),
        }
    }

    /// Says that the key of a service was made on the way.
    pub(super) fn with_service_key(mut self, key: Option<Id>) -> Self {
        self.elements
            .extend(key.map(|key| ("CreatedServiceKeyId", Value::Id(key))));
        self
    }

    /// Unique among all records.
    pub fn id(&self) -> Id {
        self.id
    }

    /// When it was.
    pub fn time(&self) -> Time {
        self.time
    }

    /// What it is about.
    pub fn event(&self) -> Event {
        self.event
    }

    /// Why it was refused, in a word; `None`: it wasn't.
    pub fn error(&self) -> Option<&'static str> {
        self.error.as_ref().map(|(name, _)| *name)
    }

    /// The record as a JSON object, before it has its place in a chain.
    pub fn body(&self, namespace: &Namespace) -> String {
        let mut body = ObjectWriter::with_capacity(1024);
        self.write(namespace, &mut body);
        body.finish()
    }

    fn write(&self, namespace: &Namespace, line: &mut ObjectWriter) {
        let kind = match self.event {
            Event::Call(_) => "ApiCall",
            Event::Own(_) => "ServiceEvent",
        };
        line.string("eventId", &self.id.to_string())
            .number("eventVersion", 1)
            .string("eventTime", &self.time.to_string())
            .string("eventSource", "stillkey-kms")
            .string("eventName", self.event.name())
            .string("eventType", kind)
            .string("serviceName", "Kms")
            .string("apiVersion", "2016-01-20")
            .string("acsRegion", namespace.region());
        if let Some((_, request_id, _, _)) = &self.caller {
            line.string("requestId", request_id);
        }
        line.object("requestParameters", |line| {
            write_values(&self.parameters, line)
        });
        line.object("responseElements", |line| {
            write_values(&self.elements, line)
        });
        if let Some((name, message)) = &self.error {
            line.string("errorCode", name)
                .string("errorMessage", message);
        }
        if let Some((_, _, source, user_agent)) = &self.caller {
            if let Some(source) = source {
                line.string("sourceIpAddress", &source.to_string());
            }
            line.string("userAgent", user_agent);
        }
        line.object("userIdentity", |line| {
            let account = namespace.account();
            let (kind, name) = match &self.caller {
                None => ("system", None),
                Some((Principal::Root, ..)) => ("root-account", Some(account)),
                Some((Principal::User(name), ..)) => ("ram-user", Some(name.as_str())),
                Some((Principal::Service(code), ..)) => ("assumed-role", Some(code.as_str())),
            };
            line.string("type", kind).string("accountId", account);
            if let Some(name) = name {
                line.string("principalId", name).string("userName", name);
            }
        });
    }
}

fn write_values(values: &Values, line: &mut ObjectWriter) {
    for (name, value) in values {
        match value {
            Value::Text(text) => line.string(name, text),
            Value::Id(id) => line.string(name, &id.to_string()),
            Value::Number(number) => line.number(name, *number),
            Value::Flag(flag) => line.bool(name, *flag),
            Value::Time(time) => line.string(name, &time.to_string()),
            Value::Digest(digest) => line.string(name, &hex(digest)),
            Value::Context(context) => line.object(name, |line| {
                for (key, value) in context.iter() {
                    line.string(key, value);
                }
            }),
        };
    }
}

/// What a request says, without what is secret.
fn parameters(request: &Request) -> Values {
    use Value::{Digest, Flag, Number, Text};
    let text = |text: &str| Text(shortened(text));
    let digest = |blob: &[u8]| Digest(Sha256::digest(blob).into());
    let key_id = |key: &str| ("KeyId", text(key));
    let context = |name, context: &EncryptionContext| {
        // What is too long for a context was refused.
        let len: usize = context
            .iter()
            .map(|(key, value)| key.len() + value.len())
            .sum();
        let fits = len <= 4 * super::context::MAX_CONTEXT_LEN;
        (!context.is_empty()).then(|| match fits {
            true => (name, Value::Context(context.clone())),
            false => (name, Text("longer than 8192 characters".into())),
        })
    };
    let tags = |tags: &[Tag]| {
        let keys: Vec<_> = tags.iter().map(|tag| tag.key.as_str()).collect();
        ("TagKeys", text(&keys.join(",")))
    };
    let mut values = Vec::with_capacity(4);
    match request {
        Request::CreateKey(request) => {
            values.extend([
                ("Description", text(&request.description)),
                ("Origin", Text(format!("{:?}", request.origin))),
                ("ProtectionLevel", Text(request.protection.name().into())),
            ]);
            values.extend(
                request
                    .rotation
                    .map(|interval| ("RotationInterval", Text(interval.to_string()))),
            );
            values.extend((!request.tags.is_empty()).then(|| tags(&request.tags)));
        }
        Request::ListKeys(_) | Request::ListAliases(_) | Request::DescribeRegions => {}
        Request::DescribeKey { key }
        | Request::EnableKey { key }
        | Request::DisableKey { key }
        | Request::CancelKeyDeletion { key }
        | Request::DeleteKeyMaterial { key }
        | Request::ListAliasesByKeyId { key, .. }
        | Request::ListResourceTags { key }
        | Request::ListKeyVersions { key, .. }
        | Request::CreateKeyVersion { key } => values.push(key_id(key)),
        Request::UpdateKeyDescription { key, description } => {
            values.extend([key_id(key), ("Description", text(description))]);
        }
        Request::ScheduleKeyDeletion { key, days } => {
            values.extend([key_id(key), ("PendingWindowInDays", Number((*days).into()))]);
        }
        Request::SetDeletionProtection {
            key,
            enabled,
            description,
        } => values.extend([
            key_id(key),
            ("EnableDeletionProtection", Flag(*enabled)),
            ("DeletionProtectionDescription", text(description)),
        ]),
        Request::GetParametersForImport { key, algorithm } => {
            values.extend([
                key_id(key),
                ("WrappingAlgorithm", Text(algorithm.name().into())),
            ]);
        }
        Request::ImportKeyMaterial(request) => {
            values.push(key_id(&request.key));
            values.extend(
                request
                    .expires
                    .map(|expires| ("KeyMaterialExpireUnix", Number(expires.unix()))),
            );
        }
        Request::Encrypt(request) => {
            values.push(key_id(&request.key));
            values.extend(context("EncryptionContext", &request.context));
        }
        Request::Decrypt(request) => {
            values.extend(request.key.as_deref().map(key_id));
            values.push(("CiphertextBlobSha256", digest(&request.blob)));
            values.extend(context("EncryptionContext", &request.context));
        }
        Request::GenerateDataKey(request) | Request::GenerateDataKeyWithoutPlaintext(request) => {
            let length = request.length.bytes() as u64;
            values.extend([key_id(&request.key), ("NumberOfBytes", Number(length))]);
            values.extend(context("EncryptionContext", &request.context));
        }
        Request::ReEncrypt(request) => {
            values.push(("CiphertextBlobSha256", digest(&request.source.blob)));
            values.extend(context("SourceEncryptionContext", &request.source.context));
            values.push(("DestinationKeyId", text(&request.destination_key)));
            values.extend(context(
                "DestinationEncryptionContext",
                &request.destination_context,
            ));
        }
        Request::GenerateRandom(length) => {
            values.push(("NumberOfBytes", Number(length.bytes() as u64)));
        }
        Request::CreateAlias { alias, key } | Request::UpdateAlias { alias, key } => {
            values.extend([("AliasName", text(alias)), key_id(key)]);
        }
        Request::DeleteAlias { alias } => values.push(("AliasName", text(alias))),
        Request::TagResource { key, tags: given } => values.extend([key_id(key), tags(given)]),
        Request::UntagResource { key, names } => {
            values.extend([key_id(key), ("TagKeys", text(&names.join(",")))]);
        }
        Request::DescribeKeyVersion { key, version } => {
            values.extend([key_id(key), ("KeyVersionId", text(version))]);
        }
        Request::UpdateRotationPolicy { key, interval } => {
            values.extend([
                key_id(key),
                ("EnableAutomaticRotation", Flag(interval.is_some())),
            ]);
            values
                .extend(interval.map(|interval| ("RotationInterval", Text(interval.to_string()))));
        }
    }
    values
}

/// What an answer says, without what is secret.
fn elements(response: &Response) -> Values {
    let of = |key, version| {
        [
            ("KeyId", Value::Id(key)),
            ("KeyVersionId", Value::Id(version)),
        ]
    };
    let encrypted = |encrypted: &Encrypted| {
        let digest = Sha256::digest(&encrypted.blob).into();
        of(encrypted.key, encrypted.version)
            .into_iter()
            .chain([("CiphertextBlobSha256", Value::Digest(digest))])
            .collect()
    };
    match response {
        Response::CreateKey(key) | Response::DescribeKey(key) => {
            let version = key
                .primary_version
                .map(|id| ("KeyVersionId", Value::Id(id)));
            [("KeyId", Value::Id(key.key))]
                .into_iter()
                .chain(version)
                .collect()
        }
        Response::ScheduleKeyDeletion { key, delete_at } => [
            ("KeyId", Value::Id(*key)),
            ("DeleteDate", Value::Time(*delete_at)),
        ]
        .into(),
        Response::CancelKeyDeletion { key } => [("KeyId", Value::Id(*key))].into(),
        Response::GetParametersForImport(parameters) => [
            ("KeyId", Value::Id(parameters.key)),
            ("TokenExpireTime", Value::Time(parameters.expires)),
        ]
        .into(),
        Response::ImportKeyMaterial { key, version } => of(*key, *version).into(),
        Response::Encrypt(made) | Response::GenerateDataKeyWithoutPlaintext(made) => {
            encrypted(made)
        }
        Response::GenerateDataKey(made) => encrypted(&made.encrypted),
        Response::ReEncrypt(made) => encrypted(&made.encrypted),
        Response::Decrypt(opened) => of(opened.key, opened.version).into(),
        Response::CreateKeyVersion(entry) | Response::DescribeKeyVersion(entry) => {
            of(entry.key, entry.version).into()
        }
        _ => Vec::new(),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The key of the chain, from the key of the store.
fn chain_key(store_key: &SecretBytes) -> SecretBytes {
    let mut key = SecretBytes::zeroed(32);
    let derived = wiped(|| {
        Hkdf::<Sha256>::new(None, store_key.danger_bytes())
            .expand(b"stillkey/kms/v1/audit-key", key.bytes_mut())
    });
    // HKDF gives up to 8,160 bytes.
    debug_assert!(derived.is_ok());
    key
}

/// The code of a line, which has none yet.
fn line_mac(key: &SecretBytes, before: &[u8; 32], line: &str) -> [u8; 32] {
    let len = u32::try_from(line.len()).unwrap_or(u32::MAX).to_be_bytes();
    import::mac(
        key,
        &[b"stillkey/kms/v1/audit", before, &len, line.as_bytes()],
    )
}

/// The member that ends a line: `,"mac":"…"}`.
const MAC_MEMBER: &str = ",\"mac\":\"";

/// Where a chain of audit records is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChainPosition {
    /// The number of the last line; 0 before the first.
    pub seq: u64,
    /// Its code; zeros before the first.
    pub mac: [u8; 32],
}

impl ChainPosition {
    /// Before the first line.
    pub const START: Self = Self {
        seq: 0,
        mac: [0; 32],
    };
}

/// Makes lines out of records. Each process that writes has a chain of its own.
#[derive(Debug)]
pub struct AuditChain {
    key: SecretBytes,
    namespace: Namespace,
    instance: Id,
    generation: u64,
    position: ChainPosition,
}

impl AuditChain {
    /// The chain of the process `instance`, which goes on from `position`.
    pub fn new(
        store_key: &SecretBytes,
        namespace: Namespace,
        instance: Id,
        position: ChainPosition,
    ) -> Self {
        Self {
            key: chain_key(store_key),
            namespace,
            instance,
            generation: 0,
            position,
        }
    }

    /// Has the lines from now on name the generation of the state that they are about: the log then
    /// shows when an older state was put in the place of a newer one. 0 is not named.
    pub fn set_generation(&mut self, generation: u64) {
        self.generation = generation;
    }

    /// Takes back what was appended since `position`, and never written.
    pub fn go_back(&mut self, position: ChainPosition) {
        self.position = position;
    }

    /// Where it is: for the next file, or for a check of this one.
    pub fn position(&self) -> ChainPosition {
        self.position
    }

    /// The next line, a JSON object without line end.
    pub fn append(&mut self, record: &AuditRecord) -> String {
        let body = record.body(&self.namespace);
        self.append_body(&body)
    }

    /// As [`AuditChain::append`], of a record in the form of [`AuditRecord::body`].
    pub fn append_body(&mut self, body: &str) -> String {
        let seq = self.position.seq + 1;
        let mut line = ObjectWriter::with_capacity(body.len() + 320);
        line.number("seq", seq)
            .string("instance", &self.instance.to_string());
        if self.generation > 0 {
            line.number("generation", self.generation);
        }
        line.string("prev", &hex(&self.position.mac));
        let mut line = line.finish();
        // The members of both objects in one.
        line.pop();
        line.push(',');
        line.push_str(body.strip_prefix('{').unwrap_or(body));
        let mac = line_mac(&self.key, &self.position.mac, &line);
        line.pop();
        line.push_str(MAC_MEMBER);
        line.push_str(&hex(&mac));
        line.push_str("\"}");
        self.position = ChainPosition { seq, mac };
        line
    }

    /// The next line, which says that so many records were lost; 0: it isn't known how many.
    pub fn append_gap(&mut self, lost: u64, now: Time) -> String {
        let mut body = ObjectWriter::new();
        body.string("eventTime", &now.to_string())
            .string("eventName", "AuditGap")
            .number("lost", lost);
        self.append_body(&body.finish())
    }
}

/// Checks a chain, line by line.
#[derive(Debug)]
pub struct AuditVerifier {
    key: SecretBytes,
    position: ChainPosition,
}

impl AuditVerifier {
    /// From `position` on: [`ChainPosition::START`], or where the file before ended.
    pub fn new(store_key: &SecretBytes, position: ChainPosition) -> Self {
        Self {
            key: chain_key(store_key),
            position,
        }
    }

    /// Where it is.
    pub fn position(&self) -> ChainPosition {
        self.position
    }

    /// Checks the next line, given without its line end.
    ///
    /// # Errors
    /// [`BrokenChain`]; the position stays, so that a later line may be tried in this one's place.
    pub fn check(&mut self, line: &str) -> Result<(), BrokenChain> {
        let after = self.position.seq;
        let broken = |finding| BrokenChain { after, finding };
        let not_a_record = || broken(ChainFinding::NotARecord);
        let (front, mac) = line.rsplit_once(MAC_MEMBER).ok_or_else(not_a_record)?;
        let mac = mac.strip_suffix("\"}").ok_or_else(not_a_record)?;
        let json = Json::parse(line).map_err(|_| not_a_record())?;
        let seq = json
            .member("seq")
            .and_then(Json::as_u64)
            .ok_or_else(not_a_record)?;
        if Some(seq) != after.checked_add(1) {
            return Err(broken(ChainFinding::OutOfOrder { found: seq }));
        }
        let computed = line_mac(&self.key, &self.position.mac, &format!("{front}}}"));
        if !bool::from(hex(&computed).as_bytes().ct_eq(mac.as_bytes())) {
            return Err(broken(ChainFinding::Changed));
        }
        self.position = ChainPosition { seq, mac: computed };
        Ok(())
    }
}

/// A chain of audit records that isn't as it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BrokenChain {
    /// The last line that is right; 0: none.
    pub after: u64,
    /// What is wrong with the one behind it.
    pub finding: ChainFinding,
}

/// What is wrong with an audit line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChainFinding {
    /// It is none.
    NotARecord,
    /// Another one was expected: lines were left out or reordered.
    OutOfOrder {
        /// Its number.
        found: u64,
    },
    /// It, or one before it, was changed; or the chain is another store's.
    Changed,
}

impl fmt::Display for BrokenChain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.after {
            0 => f.write_str("the first audit record ")?,
            after => write!(f, "the audit record after {after} ")?,
        }
        match self.finding {
            ChainFinding::NotARecord => f.write_str("is no record: the line is cut off or changed"),
            ChainFinding::OutOfOrder { found } => write!(
                f,
                "has the number {found}: lines were left out, repeated or reordered"
            ),
            ChainFinding::Changed => f.write_str(
                "doesn't fit its code: it was changed, or the records are of another store",
            ),
        }
    }
}

impl core::error::Error for BrokenChain {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TestRng;
    use alloc::vec;

    fn store_key() -> SecretBytes {
        SecretBytes::new(vec![0x11; 32])
    }

    fn lines(count: usize) -> Vec<String> {
        let namespace = Namespace::new("local", "000000000000").unwrap();
        let instance = Id::random(&mut TestRng::default()).unwrap();
        let mut chain = AuditChain::new(&store_key(), namespace, instance, ChainPosition::START);
        let record = AuditRecord::own(
            instance,
            Time::default(),
            OwnEvent::RotateKey,
            instance,
            Some(instance),
        );
        (0..count)
            .map(|at| match at % 3 {
                2 => chain.append_gap(7, Time::default()),
                _ => chain.append(&record),
            })
            .collect()
    }

    fn check(lines: &[String]) -> Result<ChainPosition, BrokenChain> {
        let mut verifier = AuditVerifier::new(&store_key(), ChainPosition::START);
        for line in lines {
            verifier.check(line)?;
        }
        Ok(verifier.position())
    }

    /// Made with Python's `cryptography`; see tests/vectors/kms.
    #[test]
    fn a_lines_code_is_that_of_another_implementation() {
        let line =
            r#"{"seq":1,"eventId":"00000000-0000-4000-8000-000000000001","eventName":"CreateKey"}"#;
        let mac = line_mac(&SecretBytes::new(vec![0x22; 32]), &[0; 32], line);
        assert_eq!(
            hex(&mac),
            "5259e79bcdb05c6b23e712ad0fcc9a2ddf34be13768767e45d5070b537af4fd6"
        );
    }

    #[test]
    fn a_chain_verifies_line_by_line_and_goes_on_in_another_file() {
        let lines = lines(7);
        let middle = check(&lines[..4]).unwrap();
        assert_eq!(middle.seq, 4);
        let mut verifier = AuditVerifier::new(&store_key(), middle);
        for line in &lines[4..] {
            verifier.check(line).unwrap();
        }
        assert_eq!(Ok(verifier.position()), check(&lines));
    }

    #[test]
    fn no_line_can_be_changed_left_out_repeated_or_moved() {
        let lines = lines(4);
        let finding = |lines: &[String]| check(lines).unwrap_err().finding;
        let mut left_out = lines.clone();
        left_out.remove(1);
        assert_eq!(finding(&left_out), ChainFinding::OutOfOrder { found: 3 });
        let mut repeated = lines.clone();
        repeated.insert(2, lines[1].clone());
        assert_eq!(finding(&repeated), ChainFinding::OutOfOrder { found: 2 });
        let mut moved = lines.clone();
        moved.swap(1, 2);
        assert_eq!(finding(&moved), ChainFinding::OutOfOrder { found: 3 });
        for at in 0..lines[1].len() {
            let mut changed = lines.clone();
            let mut bytes = changed[1].clone().into_bytes();
            bytes[at] ^= 1;
            changed[1] = String::from_utf8(bytes).unwrap();
            assert_eq!(check(&changed).unwrap_err().after, 1, "{}", changed[1]);
        }
        let mut cut = lines.clone();
        cut[3].truncate(40);
        assert_eq!(finding(&cut), ChainFinding::NotARecord);
        let another = AuditVerifier::new(&SecretBytes::new(vec![0x12; 32]), ChainPosition::START)
            .check(&lines[0]);
        assert_eq!(another.unwrap_err().finding, ChainFinding::Changed);
    }
}
