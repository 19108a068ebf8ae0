//! A second reader and writer of TiKV's formats, written from their description over `prost`, to hold against the real one.
//!
//! It shares no code with `stillkey-core` and prefers the obvious to the fast. It reads as TiKV reads.

use std::collections::BTreeMap;

use openssl::symm::{Cipher, decrypt_aead, encrypt_aead};
use prost::Message;

/// `encryptionpb.FileInfo`.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct FileInfo {
    /// The data key.
    #[prost(uint64, tag = "1")]
    pub key_id: u64,
    /// The initialization vector.
    #[prost(bytes = "vec", tag = "2")]
    pub iv: Vec<u8>,
    /// `EncryptionMethod`.
    #[prost(int32, tag = "3")]
    pub method: i32,
}

/// `encryptionpb.FileDictionary`.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct FileDictionary {
    /// Entries by name.
    #[prost(btree_map = "string, message", tag = "1")]
    pub files: BTreeMap<String, FileInfo>,
}

/// `encryptionpb.DataKey`.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct DataKey {
    /// The key.
    #[prost(bytes = "vec", tag = "1")]
    pub key: Vec<u8>,
    /// `EncryptionMethod`.
    #[prost(int32, tag = "2")]
    pub method: i32,
    /// Unix seconds.
    #[prost(uint64, tag = "3")]
    pub creation_time: u64,
    /// Ever stored in the clear.
    #[prost(bool, tag = "4")]
    pub was_exposed: bool,
}

/// `encryptionpb.KeyDictionary`.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct KeyDictionary {
    /// Keys by id.
    #[prost(btree_map = "uint64, message", tag = "1")]
    pub keys: BTreeMap<u64, DataKey>,
    /// The key for new files.
    #[prost(uint64, tag = "2")]
    pub current_key_id: u64,
}

/// `encryptionpb.EncryptedContent`, the fields that TiKV uses.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct EncryptedContent {
    /// Method, nonce, tag, wrapped key.
    #[prost(btree_map = "string, bytes", tag = "1")]
    pub metadata: BTreeMap<String, Vec<u8>>,
    /// The payload.
    #[prost(bytes = "vec", tag = "2")]
    pub content: Vec<u8>,
}

/// `encryptionpb.MasterKeyBased`.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct MasterKeyBased {
    /// The data key, sealed once or more.
    #[prost(message, repeated, tag = "1")]
    pub data_key_encrypted_content: Vec<EncryptedContent>,
}

/// `encryptionpb.PlainTextDataKey`.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct PlainTextDataKey {}

/// The oneof of `encryptionpb.FileEncryptionInfo`.
#[derive(Clone, PartialEq, Eq, prost::Oneof)]
pub enum Mode {
    /// The data key is given by the user.
    #[prost(message, tag = "1")]
    PlainTextDataKey(PlainTextDataKey),
    /// The data key is sealed under a master key.
    #[prost(message, tag = "2")]
    MasterKeyBased(MasterKeyBased),
}

/// `encryptionpb.FileEncryptionInfo`, in the metadata of a log backup.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct FileEncryptionInfo {
    /// How the data key is kept.
    #[prost(oneof = "Mode", tags = "1, 2")]
    pub mode: Option<Mode>,
    /// `EncryptionMethod`.
    #[prost(int32, tag = "3")]
    pub encryption_method: i32,
    /// The initialization vector.
    #[prost(bytes = "vec", tag = "4")]
    pub file_iv: Vec<u8>,
    /// SHA-256 of the ciphertext.
    #[prost(bytes = "vec", tag = "5")]
    pub checksum: Vec<u8>,
}

/// What a file.dict holds.
#[derive(Debug, PartialEq, Eq)]
pub struct ReadFileDictionary {
    /// The version byte.
    pub version: u8,
    /// The entries.
    pub files: BTreeMap<String, FileInfo>,
    /// Records in the log.
    pub records: usize,
    /// Bytes of a torn tail.
    pub torn: usize,
}

fn number(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// Takes a dictionary file apart: version, content, what follows.
pub fn unframe(file: &[u8]) -> Result<(u8, &[u8], &[u8]), String> {
    if file.len() < 16 {
        return Err("short header".into());
    }
    let (version, stored, size) = (file[0], number(&file[4..8]), number(&file[8..16]));
    let rest = &file[16..];
    match version {
        1 if rest.len() as u64 != size => return Err("V1 length".into()),
        1 => {}
        2 if (rest.len() as u64) < size => return Err("V2 length".into()),
        2 => {}
        _ => return Err("version".into()),
    }
    let (content, rest) = rest.split_at(size as usize);
    if u64::from(crc32fast::hash(content)) != stored {
        return Err("content checksum".into());
    }
    Ok((version, content, rest))
}

/// Puts a dictionary file together.
pub fn frame(version: u8, content: &[u8], rest: &[u8]) -> Vec<u8> {
    let mut file = vec![version, 0, 0, 0];
    file.extend(crc32fast::hash(content).to_be_bytes());
    file.extend((content.len() as u64).to_be_bytes());
    file.extend(content);
    file.extend(rest);
    file
}

/// A log record, whatever its type and info; lengths are cut to 16 bits, as TiKV does.
pub fn record(kind: u8, name: &[u8], info: &[u8]) -> Vec<u8> {
    let mut record = crc32fast::hash(&[name, info].concat())
        .to_be_bytes()
        .to_vec();
    record.extend((name.len() as u16).to_be_bytes());
    record.extend((info.len() as u16).to_be_bytes());
    record.push(kind);
    record.extend(name);
    record.extend(info);
    record
}

/// Reads a file.dict as TiKV does.
pub fn read_file_dict(file: &[u8]) -> Result<ReadFileDictionary, String> {
    let (version, content, mut log) = unframe(file)?;
    let message = |bytes: &[u8]| {
        FileDictionary::decode(bytes)
            .map(|dictionary| dictionary.files)
            .map_err(|error| error.to_string())
    };
    let mut read = ReadFileDictionary {
        version,
        files: BTreeMap::new(),
        records: 0,
        torn: 0,
    };
    if version == 1 {
        let envelope = EncryptedContent::decode(content).map_err(|error| error.to_string())?;
        if envelope.metadata.get("method").map(Vec::as_slice) != Some(b"plaintext") {
            return Err("V1 is not plaintext".into());
        }
        read.files = message(&envelope.content)?;
        return Ok(read);
    }
    read.files = message(content)?;
    while !log.is_empty() {
        if log.len() < 9 {
            break;
        }
        let name_len = number(&log[4..6]) as usize;
        let info_len = number(&log[6..8]) as usize;
        let len = 9 + name_len + info_len;
        if log.len() < len {
            break;
        }
        if u64::from(crc32fast::hash(&log[9..len])) != number(&log[..4]) {
            if log.len() == len {
                break;
            }
            return Err("record checksum".into());
        }
        let name = std::str::from_utf8(&log[9..9 + name_len])
            .map_err(|_| "name")?
            .to_owned();
        match log[8] {
            1 => {
                let info =
                    FileInfo::decode(&log[9 + name_len..len]).map_err(|error| error.to_string())?;
                read.files.insert(name, info);
            }
            2 => {
                read.files.remove(&name).ok_or("remove of absent")?;
            }
            _ => return Err("record type".into()),
        }
        read.records += 1;
        log = &log[len..];
    }
    read.torn = log.len();
    Ok(read)
}

/// Opens an `EncryptedContent` sealed with AES-256-GCM by OpenSSL.
pub fn open_gcm(envelope: &EncryptedContent, key: &[u8]) -> Option<Vec<u8>> {
    assert_eq!(
        envelope.metadata.get("method").map(Vec::as_slice),
        Some(b"aes256-gcm".as_slice())
    );
    let (iv, tag) = (
        envelope.metadata.get("iv")?,
        envelope.metadata.get("aes_gcm_tag")?,
    );
    decrypt_aead(
        Cipher::aes_256_gcm(),
        key,
        Some(iv),
        &[],
        &envelope.content,
        tag,
    )
    .ok()
}

/// Seals `payload` with AES-256-GCM by OpenSSL.
pub fn seal_gcm(payload: &[u8], key: &[u8], iv: &[u8]) -> EncryptedContent {
    let mut tag = [0; 16];
    let content =
        encrypt_aead(Cipher::aes_256_gcm(), key, Some(iv), &[], payload, &mut tag).unwrap();
    gcm_envelope(&content, iv, &tag)
}

/// An `EncryptedContent` made of ready parts.
pub fn gcm_envelope(content: &[u8], iv: &[u8], tag: &[u8]) -> EncryptedContent {
    EncryptedContent {
        metadata: BTreeMap::from([
            ("method".to_owned(), b"aes256-gcm".to_vec()),
            ("iv".to_owned(), iv.to_vec()),
            ("aes_gcm_tag".to_owned(), tag.to_vec()),
        ]),
        content: content.to_vec(),
    }
}
