//! The manifest of the files that TiKV's own code wrote, and how to compare with it.

use std::collections::BTreeMap;

use serde::Deserialize;
use stillkey_core::{FileDictionary, FileInfo, KeyDictionary, MasterKey};

use crate::service::MockService;
use crate::{hex, json, raw_master_key, vector};

/// `tests/vectors/tikv/manifest.json`.
#[derive(Debug, Deserialize)]
pub struct Manifest {
    /// The directories.
    pub cases: Vec<Case>,
    /// The log backup.
    pub backup: Backup,
}

/// One directory that TiKV wrote.
#[derive(Debug, Deserialize)]
pub struct Case {
    /// Its name.
    pub case: String,
    dir: String,
    master_key: Option<String>,
    kms_vendor: Option<String>,
    kms_ciphertext_key_utf8: Option<String>,
    kms_plaintext_key: Option<String>,
    /// Whether file.dict was written with a log, where the manifest says so.
    pub enable_file_dictionary_log: Option<bool>,
    #[serde(rename = "file.dict_header")]
    file_dict_header: String,
    /// What file.dict holds.
    pub file_dict: Verdict,
    /// What key.dict holds.
    pub key_dict: Keys,
    /// The data files.
    #[serde(default)]
    pub files: Vec<DataFile>,
    /// A file that has no entry.
    pub untracked: Option<Untracked>,
}

/// A name without an entry.
#[derive(Debug, Deserialize)]
pub struct Untracked {
    /// The name.
    pub logical: String,
}

/// What TiKV made of a file.dict.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// These entries.
    Ok(Entries),
    /// An error with this text.
    #[serde(untagged)]
    Error {
        /// The text.
        error: String,
    },
}

/// A file dictionary's entries by name.
pub type Entries = BTreeMap<String, Entry>;

/// A file's entry.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Entry {
    /// Decimal.
    pub key_id: String,
    /// Hexadecimal.
    pub iv: String,
    /// A method's name, or `unknown`.
    pub method: String,
}

impl From<&FileInfo> for Entry {
    fn from(info: &FileInfo) -> Self {
        Self {
            key_id: info.key_id.to_string(),
            iv: hex::encode(info.iv_bytes()),
            method: info.method.to_string(),
        }
    }
}

/// A dictionary in the manifest's form.
pub fn entries(dictionary: &FileDictionary) -> Entries {
    dictionary
        .iter()
        .map(|(name, info)| (name.to_owned(), info.into()))
        .collect()
}

/// A key dictionary.
#[derive(Debug, Deserialize, PartialEq, Eq)]
pub struct Keys {
    /// Decimal.
    pub current_key_id: String,
    /// By id, decimal.
    pub keys: BTreeMap<String, Key>,
}

/// A data key.
#[derive(Debug, Deserialize, PartialEq, Eq)]
pub struct Key {
    /// Unix seconds.
    pub creation_time: u64,
    /// Hexadecimal.
    pub key: String,
    /// A method's name.
    pub method: String,
    /// Whether it was ever stored in the clear.
    pub was_exposed: bool,
}

impl From<&KeyDictionary> for Keys {
    fn from(dictionary: &KeyDictionary) -> Self {
        let key = |entry: &stillkey_core::KeyEntry| Key {
            creation_time: entry.creation_time,
            key: hex::encode(entry.key.danger_bytes()),
            method: entry.method.to_string(),
            was_exposed: entry.was_exposed,
        };
        Self {
            current_key_id: dictionary.current_key_id().to_string(),
            keys: dictionary
                .iter()
                .map(|(id, entry)| (id.to_string(), key(entry)))
                .collect(),
        }
    }
}

/// A data file.
#[derive(Debug, Deserialize)]
pub struct DataFile {
    /// Its name in the dictionary.
    pub logical: String,
    /// Its name below the case's directory.
    pub stored: String,
    /// Length in bytes.
    pub size: usize,
    /// Of the file as it is.
    pub cipher_sha256: String,
    /// Of its plaintext.
    pub plain_sha256: String,
}

/// A log backup: paths below `tests/vectors/tikv`, hexadecimal digits.
#[derive(Debug, Deserialize)]
#[expect(missing_docs, reason = "named as in the manifest")]
pub struct Backup {
    pub cipher_sha256: String,
    pub data_key: String,
    pub file_encryption_info: String,
    pub iv: String,
    pub master_key: String,
    pub plain: String,
    pub stored: String,
}

impl Manifest {
    /// Reads it.
    pub fn load() -> Self {
        json("tikv/manifest.json")
    }
}

impl Case {
    /// The bytes of one of its files.
    pub fn read(&self, path: &str) -> Vec<u8> {
        vector(&format!("tikv/{}/{path}", self.dir))
    }

    /// The path of one of its files, or of its directory when that is empty.
    pub fn path(&self, path: &str) -> String {
        let path = crate::vector_path(&format!("tikv/{}/{path}", self.dir));
        path.to_str().expect("a path in UTF-8").to_owned()
    }

    /// The digits of the master key in hand that opens its key.dict; `None` for plaintext.
    pub fn master_key_digits(&self) -> Option<String> {
        let in_file = self.master_key.as_ref().map(|path| {
            let text = String::from_utf8(vector(&format!("tikv/{path}"))).unwrap();
            text.trim_end().to_owned()
        });
        in_file.or_else(|| self.kms_plaintext_key.clone())
    }

    /// The version byte that its file.dict is said to have.
    pub fn file_dict_version(&self) -> u8 {
        hex::decode(&self.file_dict_header)[0]
    }

    /// Every master key that opens its key.dict: the one that it was written under, and behind a key service also the key in hand.
    pub fn master_keys(&self) -> Vec<MasterKey> {
        if let Some(path) = &self.master_key {
            return vec![master_key_file(path)];
        }
        match (
            &self.kms_vendor,
            &self.kms_ciphertext_key_utf8,
            &self.kms_plaintext_key,
        ) {
            (Some(vendor), Some(blob), Some(key)) => vec![
                MockService::master_key(vendor, blob.as_bytes(), &hex::decode(key)),
                raw_master_key(key),
            ],
            _ => vec![MasterKey::Plaintext],
        }
    }
}

/// A master key from one of TiKV's key files: 64 hexadecimal digits and a newline.
pub fn master_key_file(path: &str) -> MasterKey {
    let text = String::from_utf8(vector(&format!("tikv/{path}"))).unwrap();
    raw_master_key(text.strip_suffix('\n').unwrap())
}
