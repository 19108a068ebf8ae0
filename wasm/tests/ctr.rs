//! Counter mode on the kernels that this module was compiled with, against core's portable ones and the standards' vectors.

#![cfg(target_arch = "wasm32")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::sync::Arc;

use serde::Deserialize;
use stillkey_core::{
    Cipher, CipherProvider, CtrKernel, CtrStream, DataKey, Iv, Method, Portable, SecretBytes,
};
use stillkey_wasm::Simd;
use wasm_bindgen_test::wasm_bindgen_test;

/// Bytes that the vector kernels encrypt at once.
const STRIDE: usize = 512;

fn key(cipher: Cipher) -> DataKey {
    let bytes = (0..).take(cipher.key_len()).map(|i: u8| 0xa5 ^ i << 3);
    DataKey::new(cipher, SecretBytes::new(bytes.collect())).unwrap()
}

fn kernels(cipher: Cipher) -> [Arc<dyn CtrKernel>; 2] {
    [Simd.ctr(&key(cipher)), Portable.ctr(&key(cipher))]
}

fn apply(kernel: &Arc<dyn CtrKernel>, iv: u128, offset: u64, data: &[u8]) -> Vec<u8> {
    let mut data = data.to_vec();
    let iv = Iv::new(iv.to_be_bytes());
    kernel.apply(&iv, offset, data.as_mut_slice().into());
    data
}

#[wasm_bindgen_test]
fn this_module_has_the_kernels_that_it_was_built_to_have() {
    let compiled = if cfg!(target_feature = "simd128") {
        "simd128"
    } else {
        "portable"
    };
    // Whoever builds for one of them says so, lest a lost flag makes all of these tests try the other one.
    let expected = option_env!("STILLKEY_EXPECT_KERNELS").unwrap_or(compiled);
    assert_eq!(Cipher::ALL.map(|cipher| Simd.name(cipher)), [expected; 4]);
}

#[wasm_bindgen_test]
fn every_length_from_every_byte_of_a_block_is_as_portable() {
    let data: Vec<u8> = (0..=250).cycle().take(4 * STRIDE + 18 * 16).collect();
    for cipher in Cipher::ALL {
        let [simd, portable] = kernels(cipher);
        let iv = 0x0123_4567_89ab_cdef_0000_0000_ffff_fff0;
        let expected = apply(&portable, iv, 0, &data);
        for start in 0..16 {
            // Every length from some bytes, and from the others lengths of every remainder.
            let step = if start % 5 == 0 { 1 } else { 7 };
            for len in (0..data.len() - 16).step_by(step) {
                let end = start + len;
                let found = apply(&simd, iv, start as u64, &data[start..end]);
                assert!(found == expected[start..end], "{cipher:?} {start}+{len}");
            }
        }
    }
}

#[wasm_bindgen_test]
fn counters_carry_from_any_block_of_a_stride_through_all_128_bits() {
    let data = vec![0x5a; 3 * STRIDE];
    for cipher in Cipher::ALL {
        let [simd, portable] = kernels(cipher);
        for end in [1 << 5, 1 << 8, 1 << 32, 1 << 40, 1 << 64, 1 << 96, 0_u128] {
            for back in 0..100 {
                let iv = end.wrapping_sub(back);
                let expected = apply(&portable, iv, 3, &data);
                assert!(apply(&simd, iv, 3, &data) == expected, "{cipher:?} {iv:x}");
            }
        }
    }
}

#[wasm_bindgen_test]
fn source_to_destination_is_as_in_place() {
    let source: Vec<u8> = (0..=250).cycle().take(2 * STRIDE + 100).collect();
    for cipher in Cipher::ALL {
        let stream = CtrStream::with_provider(&Simd, &key(cipher), Iv::new([0xf0; 16]));
        for (start, len) in [(0, 0), (0, 16), (7, 40), (0, STRIDE), (5, 2 * STRIDE + 90)] {
            let source = &source[start..start + len];
            let mut destination = vec![0xee; len];
            stream
                .apply_at_to(start as u64, source, &mut destination)
                .unwrap();
            let mut in_place = source.to_vec();
            stream.apply_at(start as u64, &mut in_place).unwrap();
            assert!(destination == in_place, "{cipher:?} {start}+{len}");
        }
    }
}

#[derive(Deserialize)]
struct Vector {
    name: String,
    method: String,
    key: String,
    iv: String,
    plaintext: String,
    ciphertext: String,
}

#[wasm_bindgen_test]
fn the_standards_vectors_hold() {
    let nist = include_str!("../../tests/vectors/nist/ctr.json");
    let sm4 = include_str!("../../tests/vectors/sm4/ctr.json");
    let vectors = [nist, sm4].map(|json| serde_json::from_str::<Vec<Vector>>(json).unwrap());
    assert_eq!(vectors.each_ref().map(Vec::len), [3, 2]);
    for vector in vectors.iter().flatten() {
        let cipher = vector.method.parse::<Method>().unwrap().cipher().unwrap();
        let key = DataKey::new(cipher, SecretBytes::new(decode(&vector.key))).unwrap();
        let iv = u128::from_str_radix(&vector.iv, 16).unwrap();
        let found = apply(&Simd.ctr(&key), iv, 0, &decode(&vector.plaintext));
        assert!(found == decode(&vector.ciphertext), "{}", vector.name);
    }
}

fn decode(hex: &str) -> Vec<u8> {
    let digits = hex.as_bytes().chunks(2);
    digits
        .map(|digits| u8::from_str_radix(str::from_utf8(digits).unwrap(), 16).unwrap())
        .collect()
}
