//! A key dictionary: how it is sealed, and with the right master key, which data keys it holds.

use std::path::Path;

use serde_json::{Map, Value, json};
use stillkey::core::{Envelope, KeyDictionary, KeyEntry, MasterKey};
use stillkey::{Error, ErrorKind};

use super::{Findings, Json};
use crate::failure::{Failure, Outcome, error_json, failure_json};
use crate::keys::Named;
use crate::text::{base64, hex, utc};

pub(super) fn inspect(
    path: &Path,
    bytes: &[u8],
    (mut master_keys, named): (Vec<MasterKey>, Named),
    show_keys: bool,
    findings: &mut Findings,
) -> Outcome {
    let data = |source| Error::Data {
        path: path.to_owned(),
        source,
    };
    let envelope = KeyDictionary::envelope(bytes).map_err(data)?;
    let (mut json, mut human) = describe_sealing(path, &envelope);
    let is_by_default = named == Named::ByDefault;
    if is_by_default && is_in_the_clear(&envelope) {
        master_keys = vec![MasterKey::Plaintext];
    }
    match open(&envelope, &master_keys) {
        None => {
            human += &closed(
                &mut json,
                show_keys,
                findings,
                "give a --master-key to see its keys",
            )
        }
        Some(Err(error)) if is_by_default && is_for_another_key(&error) => {
            human += &closed(
                &mut json,
                show_keys,
                findings,
                "the default master key doesn't open it; give a --master-key to see its keys",
            );
        }
        Some(Ok(keys)) => {
            json["current_key_id"] = keys.current_key_id().to_string().into();
            json["keys"] = keys
                .iter()
                .map(|(id, entry)| (id.to_string(), key_json(entry, show_keys)))
                .collect::<Map<_, _>>()
                .into();
            human += &keys
                .iter()
                .map(|(id, entry)| key_line(id, entry, &keys, show_keys))
                .collect::<String>();
            if let Err(error) = keys.current() {
                human += &format!("\n  {error}");
            }
        }
        Some(Err(error)) => {
            let error = data(error);
            findings.wrong.get_or_insert(error.kind());
            json["error"] = error_json(&error);
            human += &format!("\n  {error}");
        }
    }
    findings.add("key_dict", Json::Tree(json), human);
    Ok(())
}

/// That no key fits is an answer, unless keys were to be shown.
fn closed(json: &mut Value, show_keys: bool, findings: &mut Findings, why: &str) -> String {
    if show_keys {
        findings.wrong.get_or_insert(ErrorKind::KeySource);
        let error = Failure::Said(ErrorKind::KeySource, format!("closed: {why}"));
        json["error"] = failure_json(&error).map(|(_, json)| json).into();
    }
    format!("\n  closed: {why}")
}

fn is_in_the_clear(envelope: &Envelope) -> bool {
    envelope.sealing().method.as_deref() == Some("plaintext")
}

/// Opens with the first key that fits; only a wrong key makes the next one be tried.
fn open(
    envelope: &Envelope,
    master_keys: &[MasterKey],
) -> Option<Result<KeyDictionary, stillkey::core::Error>> {
    let mut opened = None;
    for master_key in master_keys {
        let tried = KeyDictionary::from_envelope(envelope, master_key);
        let goes_on = tried.as_ref().is_err_and(is_for_another_key);
        opened = Some(tried);
        if !goes_on {
            break;
        }
    }
    opened
}

fn is_for_another_key(error: &stillkey::core::Error) -> bool {
    use stillkey::core::Error::{OtherMasterKeyKind, WrongMasterKey};
    matches!(error, WrongMasterKey(_) | OtherMasterKeyKind { .. })
}

fn describe_sealing(path: &Path, envelope: &Envelope) -> (Value, String) {
    let sealing = envelope.sealing();
    let method = sealing.method.as_deref().unwrap_or("nothing named");
    let mut human = format!(
        "{}: sealed with {method}, {} bytes",
        path.display(),
        sealing.payload_len
    );
    if let Some(vendor) = &sealing.vendor {
        human += &format!(", key wrapped by {vendor:?}");
    }
    if is_in_the_clear(envelope) {
        human += ": readable by anybody";
    }
    let mut json = json!({ "method": sealing.method, "payload_len": sealing.payload_len });
    if let Some(vendor) = sealing.vendor {
        json["kms_vendor"] = vendor.into();
        json["wrapped_key_len"] = sealing.wrapped_key_len.into();
        if let Some(version) = sealing.key_version {
            json["kms_key_version"] = version.into();
        }
    }
    if let Some(wrapped) = envelope.wrapped_key() {
        let wrapped = base64(wrapped);
        human += &format!("\n  wrapped key in Base64: {wrapped}");
        json["wrapped_key"] = wrapped.into();
    }
    (json!({ "sealing": json }), human)
}

fn key_json(entry: &KeyEntry, show_keys: bool) -> Value {
    let mut json = json!({
        "method": entry.method.to_string(),
        "creation_time": entry.creation_time,
        "was_exposed": entry.was_exposed,
    });
    if show_keys {
        json["key"] = hex(entry.key.danger_bytes()).into();
    }
    json
}

fn key_line(id: u64, entry: &KeyEntry, keys: &KeyDictionary, show_keys: bool) -> String {
    let mut line = format!(
        "\n  key {id:>20}  {:<10}  made {}",
        entry.method,
        utc(entry.creation_time)
    );
    if entry.was_exposed {
        line += "  exposed";
    }
    if id == keys.current_key_id() {
        line += "  current";
    }
    if show_keys {
        line += &format!("  {}", hex(entry.key.danger_bytes()));
    }
    line
}
