//! `tests/vectors/sealed`: objects that were frozen when version 1 was made. Every later release opens them, writes the same bytes from
//! the same random numbers, and refuses the refused ones for the same reason. An independent implementation of `core/FORMAT.md` made them.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test may panic, and its numbers are small"
)]

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io::Read;
use std::path::PathBuf;

use rand_core::{TryCryptoRng, TryRng};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use stillkey::{Native, SealedReader};
use stillkey_core::error::{Finding, Unsupported};
use stillkey_core::sealed::{Header, Opener, Options, Sealer, Suite, open, seal};
use stillkey_core::{EncryptionContext, Error, MasterKey, Portable, RawMasterKey, SecretBytes};

/// A line of `v1.json`.
#[derive(Deserialize)]
struct Vector {
    name: String,
    suite: String,
    chunk_exponent: u8,
    master_keys: Vec<String>,
    context: BTreeMap<String, String>,
    plaintext: Plaintext,
    sha256: String,
    /// Hexadecimal; small objects have it.
    object: Option<String>,
    /// A file beside `v1.json`; some of the larger objects have it.
    file: Option<String>,
}

#[derive(Deserialize)]
struct Plaintext {
    length: usize,
}

/// A line of `v1-cases.json`.
#[derive(Deserialize)]
struct Case {
    name: String,
    what: String,
    verdict: String,
    master_keys: Vec<String>,
    context: BTreeMap<String, String>,
    object: Option<String>,
    file: Option<String>,
    /// Pieces of `file`, joined: each from one byte up to another.
    #[serde(default)]
    pieces: Vec<(usize, usize)>,
}

#[test]
fn every_frozen_object_is_reproduced_and_opens_with_each_of_its_master_keys() {
    let vectors: Vec<Vector> = json("v1.json");
    for suite in Suite::ALL {
        let of_suite = vectors.iter().filter(|v| v.suite == suite.name()).count();
        assert!(of_suite >= 7, "{suite}: {of_suite} vectors");
    }
    for vector in &vectors {
        let name = &vector.name;
        let plaintext = pattern(vector.plaintext.length);
        let master_keys: Vec<_> = vector
            .master_keys
            .iter()
            .map(|key| master_key(key))
            .collect();
        let context = vector.context.clone().into_iter().collect();
        let options = Options {
            suite: vector.suite.parse().unwrap(),
            chunk_exponent: vector.chunk_exponent,
        };
        let mut rng = CountingRng(0);
        let made = seal(&plaintext, &options, &master_keys, &context, &mut rng).unwrap();
        let frozen = match (&vector.object, &vector.file) {
            (Some(object), None) => bytes(object),
            (None, Some(path)) => file(path),
            // Only its hash was kept.
            _ => made.clone(),
        };
        assert_eq!(hex(&Sha256::digest(&frozen)), vector.sha256, "{name}");
        assert!(made == frozen, "{name}: other bytes than those frozen");
        let made = seal_natively(&plaintext, &options, &master_keys, &context);
        assert!(
            made == frozen,
            "{name}: other bytes by this processor's kernels"
        );
        for master_key in master_keys {
            let master_key = [master_key];
            let opened = open(&frozen, &master_key, &context);
            assert!(opened.unwrap().as_slice() == plaintext, "{name}");
            let (mut reader, mut opened) = (&frozen[..], Vec::new());
            let reader = SealedReader::new(&mut reader, &master_key, &context);
            reader.unwrap().read_to_end(&mut opened).unwrap();
            assert!(opened == plaintext, "{name}");
        }
    }
}

#[test]
fn every_case_gets_its_verdict_at_once_and_in_pieces() {
    for case in json::<Vec<Case>>("v1-cases.json") {
        let object = case.object();
        let master_keys: Vec<_> = case.master_keys.iter().map(|key| master_key(key)).collect();
        let context = case.context.clone().into_iter().collect();
        let at_once = open(&object, &master_keys, &context).map(|plaintext| plaintext.to_vec());
        let in_pieces = open_in_pieces(&object, &master_keys, &context);
        for result in [at_once, in_pieces] {
            assert_eq!(
                verdict(&result),
                case.verdict,
                "{}: {}: {result:?}",
                case.name,
                case.what
            );
            if let Ok(plaintext) = result {
                assert_eq!(plaintext, b"sixteen bytes.\r\n", "{}", case.name);
            }
        }
    }
}

fn seal_natively(
    plaintext: &[u8],
    options: &Options,
    master_keys: &[MasterKey],
    context: &EncryptionContext,
) -> Vec<u8> {
    let (mut object, mut rng) = (Vec::new(), CountingRng(0));
    let provider = Native::detect();
    let sealer = Sealer::new(
        options,
        master_keys,
        context,
        &provider,
        &mut rng,
        &mut object,
    );
    let mut sealer = sealer.unwrap();
    sealer.push(plaintext, &mut object).unwrap();
    sealer.finish(&mut object).unwrap();
    object
}

impl Case {
    fn object(&self) -> Vec<u8> {
        match (&self.object, &self.file) {
            (Some(object), None) => bytes(object),
            (None, Some(path)) => {
                let whole = file(path);
                let pieces = self.pieces.iter().map(|&(from, to)| &whole[from..to]);
                pieces.collect::<Vec<_>>().concat()
            }
            _ => panic!("{}: neither object nor file", self.name),
        }
    }
}

/// As `core/FORMAT.md` §5 calls it.
fn verdict(result: &Result<Vec<u8>, Error>) -> &'static str {
    match result {
        Ok(_) => "opens",
        Err(Error::Unsupported(Unsupported::NotSealed)) => "not a sealed object",
        Err(Error::Unsupported(_)) => "unsupported",
        Err(Error::WrongContext) => "wrong context",
        Err(Error::WrongMasterKey(_)) => "wrong master key",
        Err(Error::Damaged(damage)) => match damage.finding {
            Finding::Truncated => "damaged: cut off",
            Finding::Extended => "damaged: extended",
            _ => "damaged",
        },
        Err(error) => panic!("not a verdict on an object: {error:?}"),
    }
}

fn open_in_pieces(
    object: &[u8],
    master_keys: &[MasterKey],
    context: &EncryptionContext,
) -> Result<Vec<u8>, Error> {
    let header = Header::parse(object)?;
    let mut opener = Opener::new(header.open(master_keys, context, &Portable)?);
    let mut plaintext = Vec::new();
    for piece in object[header.as_bytes().len()..].chunks(1000) {
        opener.push(piece, &mut plaintext)?;
    }
    opener.finish(&mut plaintext)?;
    Ok(plaintext)
}

/// The rule of `plaintext` in `v1.json`.
fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|i| (7 * i + i / 251) as u8).collect()
}

fn master_key(hex: &str) -> MasterKey {
    MasterKey::Raw(RawMasterKey::new(SecretBytes::new(bytes(hex))).unwrap())
}

fn json<T: DeserializeOwned>(name: &str) -> T {
    serde_json::from_slice(&file(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn file(name: &str) -> Vec<u8> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("vectors/sealed");
    std::fs::read(folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits = hex.as_bytes().chunks(2);
    digits
        .map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Counts up from zero, as the generator of the vectors did.
struct CountingRng(u8);

impl TryRng for CountingRng {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        unreachable!("sealing asks for bytes")
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        unreachable!("sealing asks for bytes")
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        for byte in bytes {
            *byte = self.0;
            self.0 = self.0.wrapping_add(1);
        }
        Ok(())
    }
}

impl TryCryptoRng for CountingRng {}
