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
    let files: Map<String, Value> = recovered
        .dictionary
        .iter()
        .map(|(name, info)| (name.to_owned(), file_json(info)))
        .collect();
    let mut human = format!(
        "{}: version {version}, {} files, {} log records",
        path.display(),
        files.len(),
        recovered.records
    );
    human += &recovered
        .dictionary
        .iter()
        .map(|(name, info)| file_line(name, info))
        .collect::<String>();
    findings.add(
        "file_dict",
        json!({ "version": version, "files": files }),
        human,
    );

    let (mut log, mut human) = verdict(&recovered.verdict, recovered.records);
    if records {
        let (json, lines) = list_records(bytes, reading, recovered.records).map_err(data)?;
        log["entries"] = json;
        human = format!("{lines}{human}");
    }
    findings.add("log", log, human);
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
