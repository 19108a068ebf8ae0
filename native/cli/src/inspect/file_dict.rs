//! A file dictionary: its entries, the records of its log, and how the log ends.

use std::path::Path;

use serde::ser::{Error as _, SerializeMap};
use serde::{Serialize, Serializer};
use serde_json::{Value, json};
use stillkey::core::{
    FileDictionary, FileInfo, LocatedRecord, LogReader, Reading, Record, Recovered, Verdict,
};
use stillkey::{Error, ErrorKind};
use zeroize::Zeroizing;

use super::{Findings, Json};
use crate::failure::Outcome;
use crate::text::hex;

pub(super) fn inspect(
    path: &Path,
    bytes: Zeroizing<Vec<u8>>,
    reading: Reading,
    records: bool,
    findings: &mut Findings,
) -> Outcome {
    let data = |source| Error::Data {
        path: path.to_owned(),
        source,
    };
    let recovered = FileDictionary::recover(&bytes, reading).map_err(data)?;
    let (log, ending) = verdict(&recovered.verdict, recovered.records);
    if matches!(recovered.verdict, Verdict::Corrupt { .. }) {
        findings.wrong.get_or_insert(ErrorKind::Damaged);
    }
    let found = Found {
        recovered,
        log,
        listed: records.then_some((bytes, reading)),
    };
    let human = if findings.for_scripts {
        String::new()
    } else {
        let records = found.records().map_err(data)?;
        let records: String = records.map(|located| record_line(&located)).collect();
        format!("{}\n\n{records}{ending}", found.lines(path))
    };
    findings.add("file_dict", Json::FileDict(found.into()), human);
    Ok(())
}

/// A dictionary of millions of files, which takes gigabytes as a tree of JSON: so that is made while it is written.
pub(super) struct Found {
    recovered: Recovered,
    log: Value,
    /// The file whose log is listed, and how it is read.
    listed: Option<(Zeroizing<Vec<u8>>, Reading)>,
}

impl Found {
    fn lines(&self, path: &Path) -> String {
        let Recovered {
            dictionary,
            version,
            records,
            ..
        } = &self.recovered;
        let mut lines = format!(
            "{}: version {}, {} files, {records} log records",
            path.display(),
            version.number(),
            dictionary.len(),
        );
        lines.extend(dictionary.iter().map(|(name, info)| file_line(name, info)));
        lines
    }

    /// The records that are listed: those before the verdict, if they were asked for.
    fn records(&self) -> Result<impl Iterator<Item = LocatedRecord<'_>>, stillkey::core::Error> {
        let listed = self.listed.as_ref();
        let log = listed.map(|(bytes, reading)| LogReader::new(bytes, *reading));
        let count = usize::try_from(self.recovered.records).unwrap_or(usize::MAX);
        Ok(log.transpose()?.into_iter().flatten().take(count))
    }
}

impl Serialize for Found {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut found = serializer.serialize_map(None)?;
        found.serialize_entry("version", &self.recovered.version.number())?;
        found.serialize_entry("files", &Files(&self.recovered.dictionary))?;
        found.serialize_entry("log", &Log(self))?;
        found.end()
    }
}

struct Files<'a>(&'a FileDictionary);

impl Serialize for Files<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, info)| (name, file_json(info))))
    }
}

struct Log<'a>(&'a Found);

impl Serialize for Log<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut log = serializer.serialize_map(None)?;
        for (name, value) in self.0.log.as_object().into_iter().flatten() {
            log.serialize_entry(name, value)?;
        }
        if self.0.listed.is_some() {
            log.serialize_entry("entries", &Records(self.0))?;
        }
        log.end()
    }
}

struct Records<'a>(&'a Found);

impl Serialize for Records<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let records = self.0.records().map_err(S::Error::custom)?;
        serializer.collect_seq(records.map(|located| record_json(&located)))
    }
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

fn record_json(located: &LocatedRecord<'_>) -> Value {
    let (kind, name, info) = parts(&located.record);
    let checksum = format!("{:08x}", located.checksum);
    let mut entry = json!({ "at": located.at, "len": located.len, "checksum": checksum, "type": kind, "name": name });
    if let Some(info) = info {
        entry["file"] = file_json(info);
    }
    entry
}

fn record_line(located: &LocatedRecord<'_>) -> String {
    let (kind, name, _) = parts(&located.record);
    format!(
        "record at byte {:>10}, {:>4} bytes, checksum {:08x}: {kind} {name:?}\n",
        located.at, located.len, located.checksum
    )
}

fn parts<'a>(record: &'a Record<'_>) -> (&'static str, &'a str, Option<&'a FileInfo>) {
    match record {
        Record::Insert { name, info } => ("insert", name, Some(info)),
        Record::Remove { name } => ("remove", name, None),
    }
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
        let torn_at = bytes.len() - 1;
        let mut findings = Findings {
            for_scripts: true,
            ..Findings::default()
        };
        inspect(
            Path::new("file.dict"),
            bytes.into(),
            Reading::Strict,
            true,
            &mut findings,
        )
        .unwrap();
        let json = serde_json::to_value(&findings).unwrap();
        assert_eq!(
            json,
            json!({ "file_dict": {
                "version": 2,
                "files": { "a": { "key_id": "7", "iv": "01".repeat(16), "method": "aes128-ctr" } },
                "log": { "records": 0, "verdict": "torn-tail", "at": torn_at, "dropped": 1, "entries": [] },
            }})
        );
    }
}
