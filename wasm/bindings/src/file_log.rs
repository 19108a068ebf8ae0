//! The writer of a `file.dict`: what to append or replace, one write at a time.
//!
//! The core's `FileLog` takes batches that are in flight together, and writes version 1 too; this one takes one write
//! and appends version 2 alone, in a third of the code.

use stillkey_core::{
    FileDictionary as CoreFileDictionary, FileInfo, FileLog as CoreFileLog, Iv, Method,
    MethodNumber, Record, Version,
};
use wasm_bindgen::prelude::wasm_bindgen;

use crate::failure::Failure;
use crate::file_dictionary::{log_of, opened};

/// A file dictionary with the write that hasn't become durable yet.
#[wasm_bindgen]
#[derive(Debug)]
pub struct FileLog {
    dictionary: CoreFileDictionary,
    /// Whether the file has another form, or superseded records, so that it has to be replaced.
    replaces: bool,
    removes: u64,
    removes_of_write: u64,
    write: Vec<u8>,
    /// What the names of the write were before it, in its order.
    undo: Vec<(String, Option<FileInfo>)>,
    is_pending: bool,
}

#[wasm_bindgen]
impl FileLog {
    /// Goes on with a `file.dict`, which has to be whole; with none, if there are no bytes.
    #[wasm_bindgen(constructor)]
    pub fn new(file: &[u8]) -> Result<Self, Failure> {
        let (dictionary, version) = match file {
            [] => (CoreFileDictionary::new(), None),
            file => {
                let (dictionary, version) = opened(file)?;
                (dictionary, Some(version))
            }
        };
        Ok(Self {
            dictionary,
            replaces: version != Some(Version::V2),
            removes: 0,
            removes_of_write: 0,
            write: Vec::new(),
            undo: Vec::new(),
            is_pending: false,
        })
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.dictionary.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.dictionary.is_empty()
    }

    /// Adds an entry with the next write. In plaintext, there is no initialization vector.
    pub fn insert(
        &mut self,
        name: String,
        key_id: u64,
        method: i32,
        iv: &[u8],
    ) -> Result<(), Failure> {
        let info = match MethodNumber(method).known()? {
            Method::Plaintext => FileInfo::plaintext(key_id),
            method => FileInfo::encrypted(key_id, Iv::try_from(iv)?, method),
        };
        let record = Record::Insert {
            name: &name,
            info: info.clone(),
        };
        self.append(&record)?;
        let before = self.dictionary.insert(name.as_str(), info);
        self.undo.push((name, before));
        Ok(())
    }

    /// Removes an entry with the next write, if there is one.
    pub fn remove(&mut self, name: String) -> Result<bool, Failure> {
        if self.dictionary.find(&name).is_none() {
            return Ok(false);
        }
        self.append(&Record::Remove { name: &name })?;
        let before = self.dictionary.remove(&name);
        self.removes_of_write += 1;
        self.undo.push((name, before));
        Ok(true)
    }

    fn append(&mut self, record: &Record<'_>) -> Result<(), Failure> {
        self.write.extend(record.to_bytes()?);
        Ok(())
    }

    /// Whether a write is waiting for `commit` or `discard`.
    pub fn is_pending(&self) -> bool {
        self.is_pending
    }

    /// Whether the next write replaces the file; else it is appended.
    pub fn replaces(&self) -> bool {
        self.replaces
    }

    /// Has the next write replace the file.
    pub fn compact(&mut self) {
        self.replaces = true;
    }

    /// What to write for what was added and removed.
    pub fn write(&mut self) -> Result<Vec<u8>, Failure> {
        self.is_pending = true;
        if self.replaces {
            return log_of(&self.dictionary);
        }
        Ok(std::mem::take(&mut self.write))
    }

    /// The write is durable.
    pub fn commit(&mut self) {
        self.removes = if self.replaces {
            0
        } else {
            self.removes + self.removes_of_write
        };
        self.replaces = false;
        self.settle();
    }

    /// The write, or what was added for one, didn't happen.
    pub fn discard(&mut self) {
        for (name, before) in std::mem::take(&mut self.undo).into_iter().rev() {
            drop(match before {
                Some(info) => self.dictionary.insert(name, info),
                None => self.dictionary.remove(&name),
            });
        }
        self.settle();
    }

    fn settle(&mut self) {
        self.write.clear();
        self.undo.clear();
        self.removes_of_write = 0;
        self.is_pending = false;
    }

    /// Whether so many removes were appended that TiKV would rewrite the file.
    pub fn is_compaction_due(&self) -> bool {
        self.removes > CoreFileLog::DEFAULT_REWRITE_THRESHOLD
    }

    /// Id of the data key, number of the method and initialization vector of a name's entry, if there is one: 8, 4, and
    /// the rest of these bytes, numbers in little-endian order.
    pub fn find(&self, name: &str) -> Option<Vec<u8>> {
        let info = self.dictionary.find(name)?;
        let mut entry = info.key_id.to_le_bytes().to_vec();
        entry.extend(info.method.0.to_le_bytes());
        entry.extend(info.iv_bytes());
        Some(entry)
    }
}
