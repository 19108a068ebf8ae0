//! The body of a sealed object beside raw AES-256-GCM of the same length: what chunks and their copies cost.

use std::hint::black_box;

use stillkey::{Native, SysRng};
use stillkey_core::cipher::{Aead, AeadKey};
use stillkey_core::sealed::{OneThread, Options, Sealer, open};
use stillkey_core::{
    CipherProvider, EncryptionContext, MasterKey, Portable, RawMasterKey, SecretBytes,
};

use crate::measure::Contender;
use crate::peers::{AWS_LC, gcm};
use crate::task::SEALED;

const KEY: [u8; 32] = [7; 32];
/// What `SealedWriter` seals at a time on one thread, so that its buffer stays in the cache.
const PIECE: usize = 256 << 10;

/// Ours and AWS-LC, once both have shown that they are right.
pub(crate) fn contenders(len: usize) -> Vec<Contender> {
    vec![sealing(len), raw(len)]
}

/// In place, under a new nonce each time.
fn raw(len: usize) -> Contender {
    let key = AeadKey::new(Aead::Aes256Gcm, SecretBytes::copied(&KEY)).expect("32 bytes");
    let mut message = vec![1; len];
    let tag = Portable
        .aead(&key)
        .seal(&[0; 12], message.as_mut_slice().into())
        .expect("short enough");
    let mut theirs = vec![1; len];
    let right = gcm(&KEY)(&mut theirs) == tag && theirs == message;
    assert!(right, "AWS-LC's AES-256-GCM: the answer is wrong");

    let mut raw = gcm(&KEY);
    Contender::new(AWS_LC, move |data| {
        black_box(raw(data));
    })
}

/// The body of a sealed object with the default options, an object without end, sealed as `SealedWriter` does it; the header isn't timed.
fn sealing(len: usize) -> Contender {
    let master_key = SecretBytes::copied(&KEY);
    let master_key = MasterKey::Raw(RawMasterKey::new(master_key).expect("32 bytes"));
    let master_key = [master_key];
    let context = EncryptionContext::new();
    let start = |out: &mut Vec<u8>| {
        let (options, native) = (Options::default(), Native::detect());
        Sealer::new(&options, &master_key, &context, &native, &mut SysRng, out)
            .expect("random numbers")
    };

    let (plaintext, mut object) = (vec![1; len], Vec::new());
    let mut sealer = start(&mut object);
    let mut piece = vec![0; sealer.output_len(PIECE)];
    push(&mut sealer, &plaintext, &mut piece, |sealed| {
        object.extend(sealed);
    });
    sealer.finish(&mut object).expect("short enough");
    let opened = open(&object, &master_key, &context).expect("it was sealed right");
    assert!(*opened == plaintext, "the sealed object has other contents");

    let mut sealer = start(&mut object);
    Contender::new(SEALED, move |data| {
        push(&mut sealer, data, &mut piece, |sealed| {
            black_box(sealed);
        });
    })
}

fn push(
    sealer: &mut Sealer,
    mut plaintext: &[u8],
    piece: &mut [u8],
    mut written: impl FnMut(&[u8]),
) {
    while !plaintext.is_empty() {
        let pushed = sealer
            .push_to(plaintext, piece, &OneThread)
            .expect("far from the longest object");
        plaintext = &plaintext[pushed.taken..];
        written(&piece[..pushed.written]);
    }
}
