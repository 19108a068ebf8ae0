//! A file dictionary: its entries, the records of its log, and how the log ends.

use std::path::Path;

use serde_json::{Map, Value, json};
use stillkey::core::{FileDictionary, FileInfo, LogReader, Reading, Record, Verdict};
use stillkey::{Error, ErrorKind};

use super::Findings;
use crate::failure::Outcome;
use crate::text::hex;

pub(super) fn inspect(
    path: &Path,
    bytes: &[u8],
    reading: Reading,
    records: bool,
    findings: &mut Findings,
) -> Outcome {
    let data = |source| Error::Data {
        path: path.to_owned(),
        source,
    };
    let recovered = FileDictionary::recover(bytes, reading).map_err(data)?;
    let version = recovered.version.number();
    let entries = || recovered.dictionary.iter();
    let mut files = Map::new();
    let mut human = format!(
        "{}: version {version}, {} files, {} log records",
        path.display(),
        recovered.dictionary.len(),
        recovered.records
    );
    if findings.for_scripts {
        files.extend(entries().map(|(name, info)| (name.to_owned(), file_json(info))));
    } else {
        human.extend(entries().map(|(name, info)| file_line(name, info)));
    }
    let (mut log, mut ending) = verdict(&recovered.verdict, recovered.records);
    if records {
        let (json, lines) = list_records(bytes, reading, recovered.records).map_err(data)?;
        log["entries"] = json;
        ending = format!("{lines}{ending}");
    }
    findings.add(
        "file_dict",
        json!({ "version": version, "files": files, "log": log }),
        format!("{human}\n\n{ending}"),
    );
    if matches!(recovered.verdict, Verdict::Corrupt { .. }) {
        findings.wrong.get_or_insert(ErrorKind::Damaged);
    }
    Ok(())
}

fn verdict(verdict: &Verdict, records: u64) -> (Value, String) {
    match verdict {
        Verdict::Complete => (
            json!({ "records": records, "verdict": "complete", "at": null }),
            "log: complete".into(),
        ),
        Verdict::TornTail { at, dropped } => (
            json!({ "records": records, "verdict": "torn-tail", "at": at, "dropped": dropped }),
            format!(
                "log: torn at byte {at}: the last {dropped} bytes are an append that was cut off before it was acknowledged; \
                 everything before it is whole, and the next writer trims it"
            ),
        ),
        Verdict::Corrupt { at, why } => (
            json!({ "records": records, "verdict": "corrupt", "at": at, "why": why.to_string() }),
            format!("log: damaged: {why}"),
        ),
    }
}

/// The records that count: those before the verdict.
fn list_records(
    bytes: &[u8],
    reading: Reading,
    count: u64,
) -> Result<(Value, String), stillkey::core::Error> {
    let (mut json, mut lines) = (Vec::new(), String::new());
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    for located in LogReader::new(bytes, reading)?.take(count) {
        let (kind, name, info) = match &located.record {
            Record::Insert { name, info } => ("insert", name, Some(info)),
            Record::Remove { name } => ("remove", name, None),
        };
        let checksum = format!("{:08x}", located.checksum);
        lines += &format!(
            "record at byte {:>10}, {:>4} bytes, checksum {checksum}: {kind} {name:?}\n",
            located.at, located.len
        );
        let mut entry = json!({ "at": located.at, "len": located.len, "checksum": checksum, "type": kind, "name": name });
        if let Some(info) = info {
            entry["file"] = file_json(info);
        }
        json.push(entry);
    }
    Ok((json.into(), lines))
}

fn file_json(info: &FileInfo) -> Value {
    json!({ "key_id": info.key_id.to_string(), "iv": hex(info.iv_bytes()), "method": info.method.to_string() })
}

fn file_line(name: &str, info: &FileInfo) -> String {
    format!(
        "\n  {:<10}  key {:>20}  iv {:<32}  {}",
        info.method.to_string(),
        info.key_id,
        hex(info.iv_bytes()),
        name.escape_debug()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use stillkey::core::{Iv, Method, Version};

    #[test]
    fn the_log_is_a_part_of_the_file_dictionary() {
        let mut files = FileDictionary::new();
        files.insert(
            "a",
            FileInfo::encrypted(7, Iv::new([1; 16]), Method::Aes128Ctr),
        );
        let mut bytes = files.to_bytes(Version::V2);
        bytes.push(0);
        let mut findings = Findings {
            for_scripts: true,
            ..Findings::default()
        };
        inspect(
            Path::new("file.dict"),
            &bytes,
            Reading::Strict,
            false,
            &mut findings,
        )
        .unwrap();
        let json = Value::Object(findings.json);
        assert_eq!(
            json,
            json!({ "file_dict": {
                "version": 2,
                "files": { "a": { "key_id": "7", "iv": "01".repeat(16), "method": "aes128-ctr" } },
                "log": { "records": 0, "verdict": "torn-tail", "at": bytes.len() - 1, "dropped": 1 },
            }})
        );
    }
}
