//! Counter mode against OpenSSL, mostly where the counter carries.

use openssl::symm::{Cipher, Crypter, Mode};
use stillkey_core::{CtrStream, Iv, Method};
use stillkey_tests::data_key;
use stillkey_tests::random::Seeded;

const CASES_PER_METHOD: usize = 3000;
const MAX_LEN: usize = 1500;

fn openssl_cipher(method: Method) -> Cipher {
    match method {
        Method::Aes128Ctr => Cipher::aes_128_ctr(),
        Method::Aes192Ctr => Cipher::aes_192_ctr(),
        Method::Aes256Ctr => Cipher::aes_256_ctr(),
        Method::Sm4Ctr => Cipher::sm4_ctr(),
        Method::Plaintext => unreachable!(),
    }
}

/// OpenSSL can't seek: it starts at the block of `offset`, and the bytes of that block before it are drawn and dropped.
fn by_openssl(method: Method, key: &[u8], iv: u128, offset: u64, data: &[u8]) -> Vec<u8> {
    let first = iv.wrapping_add(u128::from(offset / 16)).to_be_bytes();
    let mut crypter =
        Crypter::new(openssl_cipher(method), Mode::Encrypt, key, Some(&first)).unwrap();
    let skipped = (offset % 16) as usize;
    let input = [&vec![0; skipped], data].concat();
    let mut output = vec![0; input.len() + 16];
    let len = crypter.update(&input, &mut output).unwrap();
    output.truncate(len);
    output.split_off(skipped)
}

/// Which of the edges 2^32, 2^64, 2^128 the counter passes on the way from the first block to the last.
fn edges_passed(first: u128, last: u128) -> [bool; 3] {
    [
        first >> 32 != last >> 32,
        first >> 64 != last >> 64,
        last < first,
    ]
}

struct Case {
    key: Vec<u8>,
    iv: u128,
    offset: u64,
    data: Vec<u8>,
}

/// A case whose counter passes 2^`edge` within the data; anywhere at all where `edge` is `None`.
fn case(rng: &mut Seeded, method: Method, edge: Option<u32>) -> Case {
    let len = rng.index(0..=MAX_LEN);
    let offset = match rng.index(0..=3) {
        0 => rng.within(0..=100),
        1 => rng.within(0..=1 << 40),
        2 => u64::MAX - len as u64 - rng.within(0..=100),
        _ => rng.within(0..=u64::MAX - len as u64),
    };
    let random = u128::from_be_bytes(rng.array());
    let iv = match edge {
        None => random,
        Some(edge) => {
            let above = random.checked_shl(edge).unwrap_or(0);
            let first_block = offset / 16;
            let last_block = (offset + len as u64).saturating_sub(1) / 16;
            let position =
                first_block + rng.within(1..=last_block.saturating_sub(first_block).max(1));
            above.wrapping_sub(u128::from(position))
        }
    };
    Case {
        key: rng.bytes(method.key_len()),
        iv,
        offset,
        data: rng.bytes(len),
    }
}

#[test]
fn twelve_thousand_random_cases_agree_with_openssl() {
    let mut rng = Seeded(0x5eed);
    let (mut cases, mut passed) = (0, [0; 3]);
    for method in Method::ALL {
        if method == Method::Plaintext {
            continue;
        }
        for number in 0..CASES_PER_METHOD {
            let edge = [Some(32), Some(64), Some(128), None][number % 4];
            let Case {
                key,
                iv,
                offset,
                data,
            } = case(&mut rng, method, edge);
            let expected = by_openssl(method, &key, iv, offset, &data);
            let what = || {
                format!(
                    "{method} key {key:02x?} iv {iv:032x} offset {offset} length {}",
                    data.len()
                )
            };

            let mut stream = CtrStream::new(&data_key(method, &key), Iv::new(iv.to_be_bytes()));
            // Any alignment of source and destination.
            let (from, to) = (rng.index(0..=63), rng.index(0..=63));
            let mut source = vec![0; from];
            source.extend(&data);
            let mut destination = vec![0xee; to + data.len() + 1];
            let range = to..to + data.len();
            stream.seek(offset);
            stream
                .apply_to(&source[from..], &mut destination[range.clone()])
                .unwrap();
            assert_eq!(destination[range.clone()], expected, "{}", what());
            assert_eq!(stream.position(), offset + data.len() as u64);
            assert!(
                destination[..to]
                    .iter()
                    .chain(&destination[range.end..])
                    .all(|byte| *byte == 0xee)
            );

            let split = rng.index(0..=data.len());
            let (head, tail) = source[from..].split_at_mut(split);
            stream.apply_at(offset + split as u64, tail).unwrap();
            stream.apply_at(offset, head).unwrap();
            assert_eq!(source[from..], expected, "{}", what());

            cases += 1;
            if let Some(last) = (data.len() as u64).checked_sub(1) {
                let block = |offset: u64| iv.wrapping_add(u128::from(offset / 16));
                let edges = edges_passed(block(offset), block(offset + last));
                for (passed, edge) in passed.iter_mut().zip(edges) {
                    *passed += usize::from(edge);
                }
            }
        }
    }
    assert_eq!(cases, 12_000);
    // Whoever passes 2^64 has passed 2^32 too, and so on.
    let [low, middle, high] = passed;
    assert!(
        low > 8_500 && middle > 5_700 && high > 2_800,
        "edges passed: {passed:?}"
    );
}
