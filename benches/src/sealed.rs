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

/// The body of a sealed object with the default options, an object without end, from one buffer into another as `SealedWriter` does it;
/// the header is not timed.
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
    let mut body = vec![0; sealer.output_len(len)];
    let written = push(&mut sealer, &plaintext, &mut body);
    object.extend(&body[..written]);
    sealer.finish(&mut object).expect("short enough");
    let opened = open(&object, &master_key, &context).expect("it was sealed right");
    assert!(*opened == plaintext, "the sealed object has other contents");

    let mut sealer = start(&mut object);
    // The part of a chunk that was left behind comes first.
    let mut body = vec![0; sealer.output_len(2 * len)];
    Contender::new(SEALED, move |data| {
        black_box(push(&mut sealer, data, &mut body));
    })
}

/// How much was written.
fn push(sealer: &mut Sealer, plaintext: &[u8], body: &mut [u8]) -> usize {
    let (mut taken, mut written) = (0, 0);
    while taken < plaintext.len() {
        let pushed = sealer
            .push_to(&plaintext[taken..], &mut body[written..], &OneThread)
            .expect("far from the longest object");
        taken += pushed.taken;
        written += pushed.written;
    }
    written
}
