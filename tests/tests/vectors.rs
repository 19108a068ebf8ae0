//! Published vectors, and TiKV's own, for counter mode and GCM.

use aes_gcm::aead::AeadInOut;
use aes_gcm::aead::consts::U12;
use aes_gcm::{AesGcm, KeyInit};
use inout::InOutBuf;
use serde::Deserialize;
use stillkey::Native;
use stillkey_core::cipher::{Aead, AeadKey};
use stillkey_core::{
    Cipher, CipherProvider, CtrStream, Envelope, Error, Iv, Method, Portable, SecretBytes,
};
use stillkey_tests::{data_key, hex, json, kernels, oracle, raw_master_key, vector};

#[derive(Deserialize)]
struct Ctr {
    name: String,
    method: String,
    key: String,
    iv: String,
    plaintext: String,
    ciphertext: String,
}

/// For every kernel that runs here.
fn streams(method: &str, key: &str, iv: &str) -> Vec<(&'static str, CtrStream)> {
    let iv = Iv::new(hex::array(iv));
    let kernels = kernels(&data_key(method.parse().unwrap(), &hex::decode(key)));
    let stream = |(name, kernel)| (name, CtrStream::with_kernel(kernel, iv));
    kernels.into_iter().map(stream).collect()
}

#[test]
fn counter_mode_agrees_with_nist_and_the_sm4_draft_whole_and_from_every_byte() {
    for (path, count) in [("nist/ctr.json", 3), ("sm4/ctr.json", 2)] {
        let vectors: Vec<Ctr> = json(path);
        assert_eq!(vectors.len(), count);
        for vector in vectors {
            let (plaintext, ciphertext) = (
                hex::decode(&vector.plaintext),
                hex::decode(&vector.ciphertext),
            );
            for (kernel, stream) in streams(&vector.method, &vector.key, &vector.iv) {
                for start in 0..plaintext.len() {
                    let mut data = plaintext[start..].to_vec();
                    stream.apply_at(start as u64, &mut data).unwrap();
                    let what = format!("{kernel}, {} from {start}", vector.name);
                    assert_eq!(data, ciphertext[start..], "{what}");
                }
            }
        }
    }
}

#[derive(Deserialize)]
struct TikvCtr {
    method: String,
    key: String,
    iv: String,
    segments: Vec<Segment>,
}

#[derive(Deserialize)]
struct Segment {
    offset: String,
    cipher: String,
}

#[test]
fn counter_mode_agrees_with_tikv_at_offsets_up_to_the_end_of_u64() {
    let vectors: Vec<TikvCtr> = json("tikv/ctr-vectors.json");
    assert_eq!(vectors.len(), 12);
    let plaintext = vector("tikv/plain/100.bin");
    for vector in vectors {
        assert_eq!(vector.segments.len(), 12);
        for segment in vector.segments {
            for (kernel, stream) in streams(&vector.method, &vector.key, &vector.iv) {
                let mut data = plaintext.clone();
                let offset = segment.offset.parse().unwrap();
                stream.apply_at(offset, &mut data).unwrap();
                let what = format!("{kernel} {} {} at {offset}", vector.method, vector.iv);
                assert_eq!(hex::encode(&data), segment.cipher, "{what}");
            }
        }
    }
}

#[derive(Deserialize)]
struct TiflashFile {
    vectors: Vec<Tiflash>,
}

#[derive(Deserialize)]
struct Tiflash {
    method: String,
    key: String,
    file_info_iv: String,
    file_name: String,
    effective_iv: String,
    segments: Vec<TiflashSegment>,
}

#[derive(Deserialize)]
struct TiflashSegment {
    offset: u64,
    cipher_of_plain_stream_first_100: String,
}

#[test]
fn files_of_a_tiflash_group_have_vectors_of_their_own() {
    let plaintext = vector("tikv/plain/100.bin");
    let file: TiflashFile = json("tikv/tiflash-iv-vectors.json");
    assert!(file.vectors.len() >= 8);
    for vector in file.vectors {
        let iv = Iv::new(hex::array(&vector.file_info_iv)).for_tiflash_file(&vector.file_name);
        assert_eq!(iv.to_string(), vector.effective_iv, "{}", vector.file_name);
        for segment in vector.segments {
            for (kernel, stream) in streams(&vector.method, &vector.key, &iv.to_string()) {
                let mut data = plaintext.clone();
                stream.apply_at(segment.offset, &mut data).unwrap();
                let expected = &segment.cipher_of_plain_stream_first_100;
                assert_eq!(hex::encode(&data), *expected, "{kernel}");
            }
        }
    }
}

#[derive(Deserialize)]
struct Sm4Block {
    name: String,
    key: String,
    plaintext: String,
    rounds: u32,
    ciphertext: String,
}

/// The keystream of one block is that block encrypted, so counter mode shows the block cipher.
#[test]
fn sm4_agrees_with_its_standard_over_a_million_rounds() {
    for vector in json::<Vec<Sm4Block>>("sm4/block.json") {
        let key = data_key(Method::Sm4Ctr, &hex::decode(&vector.key));
        for (name, kernel) in kernels(&key) {
            let mut block: [u8; 16] = hex::array(&vector.plaintext);
            for _ in 0..vector.rounds {
                let mut keystream = [0; 16];
                kernel.apply(&Iv::new(block), 0, InOutBuf::from(&mut keystream[..]));
                block = keystream;
            }
            assert_eq!(
                hex::encode(&block),
                vector.ciphertext,
                "{name}, {}",
                vector.name
            );
        }
    }
}

#[derive(Deserialize)]
struct Gcm {
    id: u32,
    key: String,
    iv: String,
    aad: String,
    plaintext: String,
    ciphertext: String,
    tag: String,
    valid: bool,
}

#[test]
fn envelopes_open_wycheproofs_valid_messages_and_call_invalid_ones_the_wrong_master_key() {
    let (mut opened, mut refused, mut long_nonces) = (0, 0, 0);
    let mut kernels = 0;
    for vector in json::<Vec<Gcm>>("gcm/aes256-gcm.json") {
        if !vector.aad.is_empty() {
            continue; // An envelope authenticates nothing beside its payload.
        }
        let (iv, tag) = (hex::decode(&vector.iv), hex::decode(&vector.tag));
        let content = hex::decode(&vector.ciphertext);
        let message = prost::Message::encode_to_vec(&oracle::gcm_envelope(&content, &iv, &tag));
        let found = Envelope::from_bytes(&message)
            .unwrap()
            .open(&raw_master_key(&vector.key));
        match (vector.valid, found) {
            (true, Ok(payload)) => {
                assert_eq!(
                    payload,
                    SecretBytes::new(hex::decode(&vector.plaintext)),
                    "{}",
                    vector.id
                );
                opened += 1;
                long_nonces += usize::from(iv.len() == 16);
            }
            (false, Err(Error::WrongMasterKey(_))) => refused += 1,
            (valid, found) => panic!("case {}, valid: {valid}: {found:?}", vector.id),
        }
        let Ok(nonce) = <[u8; 12]>::try_from(iv) else {
            continue;
        };
        let key = SecretBytes::new(hex::decode(&vector.key));
        let key = AeadKey::new(Aead::Aes256Gcm, key).unwrap();
        let tag: [u8; 16] = tag.try_into().unwrap();
        for provider in [&Portable as &dyn CipherProvider, &Native::detect()] {
            let kernel = provider.aead(&key);
            let (mut data, mut opened) = (content.clone(), vec![0xee; content.len()]);
            let in_place = kernel.open(&nonce, data.as_mut_slice().into(), &tag);
            let between = kernel.open_to(&nonce, &content, &mut opened, &tag);
            assert_eq!(in_place.is_ok(), vector.valid, "{}", vector.id);
            assert_eq!(between.is_ok(), vector.valid, "{}", vector.id);
            if vector.valid {
                assert_eq!(hex::encode(&data), vector.plaintext);
                assert_eq!(opened, data);
                let mut sealed = vec![0xee; data.len()];
                assert_eq!(kernel.seal_to(&nonce, &data, &mut sealed), Ok(tag));
                assert_eq!(kernel.seal(&nonce, data.as_mut_slice().into()), Ok(tag));
                assert_eq!((data, sealed), (content.clone(), content.clone()));
            }
        }
        kernels += 1;
    }
    assert_eq!((opened, refused, long_nonces), (40, 27, 19));
    assert_eq!(kernels, 48, "both back ends");
}

#[derive(Deserialize)]
struct Sm4Gcm {
    key: String,
    iv: String,
    aad: String,
    plaintext: String,
    ciphertext: String,
    tag: String,
}

/// Chunks have no additional data, so the kernel can show the ciphertext; for the tag RustCrypto's GCM stands in, which gives that of the RFC.
#[test]
fn sm4_in_gcm_agrees_with_rfc_8998() {
    let vectors = json::<Vec<Sm4Gcm>>("sm4/gcm.json");
    assert!(!vectors.is_empty());
    for vector in vectors {
        let (key, nonce) = (hex::decode(&vector.key), hex::array(&vector.iv));
        let mut data = hex::decode(&vector.plaintext);
        let kernel = Portable.aead(&AeadKey::new(Aead::Sm4Gcm, SecretBytes::copied(&key)).unwrap());
        let tag = kernel.seal(&nonce, data.as_mut_slice().into()).unwrap();
        assert_eq!(hex::encode(&data), vector.ciphertext);
        assert_ne!(hex::encode(&tag), vector.tag);

        let gcm = AesGcm::<sm4::Sm4, U12>::new_from_slice(&key).unwrap();
        let mut data = hex::decode(&vector.plaintext);
        let aad = hex::decode(&vector.aad);
        let tag_with_aad =
            gcm.encrypt_inout_detached((&nonce).into(), &aad, data.as_mut_slice().into());
        assert_eq!(hex::encode(&tag_with_aad.unwrap()), vector.tag);
        let mut data = hex::decode(&vector.plaintext);
        let tag_without =
            gcm.encrypt_inout_detached((&nonce).into(), &[], data.as_mut_slice().into());
        assert_eq!(tag_without.unwrap()[..], tag[..]);
    }
}

#[test]
fn keys_of_the_wrong_length_are_not_keys() {
    for aead in [Aead::Aes256Gcm, Aead::Sm4Gcm] {
        for len in 0..=40 {
            let key = AeadKey::new(aead, SecretBytes::new(vec![1; len]));
            assert_eq!(key.is_ok(), len == aead.key_len(), "{aead:?} {len}");
        }
    }
    assert_eq!(
        Cipher::ALL.map(|cipher| Portable.name(cipher)),
        ["portable"; 4]
    );
}
