//! A key dictionary: how it is sealed, and with the right master key, which data keys it holds.

use std::path::Path;

use serde_json::{Map, Value, json};
use stillkey::Error;
use stillkey::core::{Envelope, KeyDictionary, KeyEntry, MasterKey};

use super::{Findings, Json};
use crate::failure::{Outcome, error_json};
use crate::text::{hex, utc};

pub(super) fn inspect(
    path: &Path,
    bytes: &[u8],
    master_keys: &[MasterKey],
    show_keys: bool,
    findings: &mut Findings,
) -> Outcome {
    let data = |source| Error::Data {
        path: path.to_owned(),
        source,
    };
    let envelope = KeyDictionary::envelope(bytes).map_err(data)?;
    let (mut json, mut human) = describe_sealing(path, &envelope);
    match open(&envelope, master_keys) {
        None => human += "\n  closed: give a --master-key to see its keys",
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

/// Opens with the first key that fits; only a wrong key makes the next one be tried.
fn open(
    envelope: &Envelope,
    master_keys: &[MasterKey],
) -> Option<Result<KeyDictionary, stillkey::core::Error>> {
    use stillkey::core::Error::{OtherMasterKeyKind, WrongMasterKey};
    let mut opened = None;
    for master_key in master_keys {
        opened = Some(KeyDictionary::from_envelope(envelope, master_key));
        if !matches!(
            opened,
            Some(Err(WrongMasterKey(_) | OtherMasterKeyKind { .. }))
        ) {
            break;
        }
    }
    opened
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
    let mut json = json!({ "method": sealing.method, "payload_len": sealing.payload_len });
    if let Some(vendor) = sealing.vendor {
        json["kms_vendor"] = vendor.into();
        json["wrapped_key_len"] = sealing.wrapped_key_len.into();
        if let Some(version) = sealing.key_version {
            json["kms_key_version"] = version.into();
        }
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
