//! No bytes make the reader of sealed objects fail in any way but an error, and no change to an authenticated object opens.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use stillkey_core::sealed::{Body, Header, Opener, Options, Suite, open, seal};
use stillkey_core::{EncryptionContext, Error, MasterKey, Portable, RawMasterKey, SecretBytes};
use stillkey_fuzz::{CountingRng, with_right_sealed_checksum};

const CHUNK: usize = 4096;
const LONGEST_HEADER: usize = (1 << 20) + 168;

/// One object of each suite that authenticates its body: two recipients, two whole chunks and a bit.
static OBJECTS: LazyLock<[Vec<u8>; 2]> = LazyLock::new(|| {
    [Suite::Aes256Gcm, Suite::Sm4Gcm].map(|suite| {
        let options = Options {
            suite,
            chunk_exponent: 12,
        };
        seal(
            &plaintext(2 * CHUNK + 17),
            &options,
            &[key(0x43), key(0x42)],
            &context(),
            &mut CountingRng::default(),
        )
        .expect("no I/O, no failure")
    })
});

fuzz_target!(|bytes: &[u8]| {
    check(bytes);
    check(&with_right_sealed_checksum(bytes));
    if let Some((which, edits)) = bytes.split_first() {
        let object = &OBJECTS[usize::from(*which) % OBJECTS.len()];
        let edited = edit(object, edits);
        for edited in [with_right_sealed_checksum(&edited), edited] {
            if check(&edited) {
                assert!(edited == *object, "something else opened");
            }
        }
    }
});

/// Whether `object` opens. What is authenticated can only be what the holder of the key made.
fn check(object: &[u8]) -> bool {
    if let Ok(len) = Header::len_of(object) {
        assert!(len <= LONGEST_HEADER);
    }
    let at_once = open(object, &[key(0x42)], &context());
    assert_eq!(
        at_once.as_ref().map(|plaintext| &**plaintext),
        in_pieces(object).as_ref(),
        "pieces change the result"
    );
    let Ok(opened) = at_once else {
        return false;
    };
    let header = Header::parse(object).expect("it opened");
    assert!(object.starts_with(header.as_bytes()));
    if header.suite().is_chunked() {
        assert!(*opened == plaintext(opened.len()), "forged");
        by_chunk(object, &header, &opened);
    } else {
        assert_eq!(header.as_bytes().len() + opened.len(), object.len());
    }
    true
}

fn in_pieces(object: &[u8]) -> Result<Vec<u8>, Error> {
    let header = Header::parse(object)?;
    let mut opener = Opener::new(header.open(&[key(0x42)], &context(), &Portable)?);
    let mut out = Vec::new();
    for piece in object[header.as_bytes().len()..].chunks(1499) {
        opener.push(piece, &mut out)?;
    }
    opener.finish(&mut out)?;
    Ok(out)
}

/// Each chunk alone, from the last to the first.
fn by_chunk(object: &[u8], header: &Header, opened: &[u8]) {
    let body = header.open(&[key(0x42)], &context(), &Portable);
    let Ok(Body::Chunked(chunks)) = body else {
        panic!("a chunked suite");
    };
    let body = &object[header.as_bytes().len()..];
    let layout = chunks.layout(body.len() as u64).expect("it opened");
    assert_eq!(layout.plaintext_len, opened.len() as u64);
    let sealed: Vec<_> = body.chunks(chunks.sealed_chunk_size()).collect();
    assert_eq!(layout.chunks, sealed.len() as u64);
    for (number, sealed) in sealed.iter().enumerate().rev() {
        let (mut out, start) = (Vec::new(), number * chunks.chunk_size());
        chunks
            .open(
                number as u64,
                number as u64 == layout.chunks - 1,
                sealed,
                &mut out,
            )
            .expect("it opened");
        assert!(out == opened[start..start + out.len()]);
    }
}

/// Changes `object` as `edits` say, five bytes to an edit: what, where from, how far. Positions are bytes or whole chunks.
fn edit(object: &[u8], edits: &[u8]) -> Vec<u8> {
    let body_at = Header::len_of(object).expect("our own object");
    let mut object = object.to_vec();
    for edit in edits.as_chunks::<5>().0.iter().take(8) {
        let [what, a, b, c, d] = edit.map(usize::from);
        let (mut at, mut len) = (a << 8 | b, c << 8 | d);
        if what & 0x80 != 0 {
            (at, len) = (body_at + a % 4 * (CHUNK + 16), (c % 3 + 1) * (CHUNK + 16));
        }
        let at = at.min(object.len());
        let len = len.min(object.len() - at);
        match what % 5 {
            0 => drop(object.drain(at..at + len)),
            1 => object.truncate(at),
            2 => {
                let copy = object[at..at + len].to_vec();
                object.splice(at..at, copy);
            }
            3 if object.len() - at >= 2 * len => {
                let (left, right) = object[at..at + 2 * len].split_at_mut(len);
                left.swap_with_slice(right);
            }
            _ => {
                if let Some(byte) = object.get_mut(at) {
                    *byte ^= c as u8;
                }
            }
        }
    }
    object
}

/// A byte depends on the length too, so that a part of a plaintext isn't one.
fn plaintext(len: usize) -> Vec<u8> {
    (0..len).map(|i| (7 * i + i / 251 + len) as u8).collect()
}

fn key(byte: u8) -> MasterKey {
    let bytes = SecretBytes::new(vec![byte; RawMasterKey::LEN]);
    MasterKey::Raw(RawMasterKey::new(bytes).expect("a fitting length"))
}

fn context() -> EncryptionContext {
    [("tenant", "7")].into_iter().collect()
}
