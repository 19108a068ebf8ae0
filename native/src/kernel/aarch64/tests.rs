//! Each row of the table against the standards' vectors and the portable kernel.
//!
//! A row whose features the processor lacks is passed over; that the gate's processors have the right ones is the provider's test.

use std::sync::Arc;

use inout::InOutBuf;
use stillkey_core::cipher::{CipherProvider, CtrKernel, Portable};
use stillkey_core::{Cipher, DataKey, Iv, SecretBytes};

use super::KERNELS;
use crate::cpu::Features;

/// Names and kernels that run here under `key`.
fn kernels(key: &DataKey) -> impl Iterator<Item = (&'static str, Arc<dyn CtrKernel>)> {
    KERNELS
        .iter()
        .filter_map(|kernel| Some((kernel.name(), kernel.ctr(Features::detect(), key)?)))
        .inspect(|(name, _)| println!("{name} runs {:?}", key.cipher()))
}

fn key(cipher: Cipher, bytes: impl Iterator<Item = u8>) -> DataKey {
    DataKey::new(
        cipher,
        SecretBytes::new(bytes.take(cipher.key_len()).collect()),
    )
    .unwrap()
}

/// Bytes without a pattern: a linear congruence's high bits.
fn noise() -> impl Iterator<Item = u8> {
    let mut state = 0x5eed_u64;
    std::iter::repeat_with(move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 56) as u8
    })
}

#[test]
fn counter_mode_over_zeros_gives_the_blocks_of_the_standards() {
    // FIPS 197, appendix C, and GB/T 32907-2016, A.1. The counter is the plaintext, so the keystream is the ciphertext.
    let counting = 0x00112233_44556677_8899aabb_ccddeeff_u128;
    let sm4 = 0x01234567_89abcdef_fedcba98_76543210_u128;
    let cases = [
        (
            key(Cipher::Aes128, 0..),
            counting,
            0x69c4e0d8_6a7b0430_d8cdb780_70b4c55a_u128,
        ),
        (
            key(Cipher::Aes192, 0..),
            counting,
            0xdda97ca4_864cdfe0_6eaf70a0_ec0d7191,
        ),
        (
            key(Cipher::Aes256, 0..),
            counting,
            0x8ea2b7ca_516745bf_eafc4990_4b496089,
        ),
        (
            key(Cipher::Sm4, sm4.to_be_bytes().into_iter()),
            sm4,
            0x681edf34_d206965e_86b3e94f_536e4246,
        ),
    ];
    for (key, plaintext, ciphertext) in cases {
        for (name, kernel) in kernels(&key) {
            let mut data = [0; 16];
            kernel.apply(
                &Iv::new(plaintext.to_be_bytes()),
                0,
                data.as_mut_slice().into(),
            );
            assert_eq!(data, ciphertext.to_be_bytes(), "{name}");
        }
    }
}

#[test]
fn every_number_of_blocks_equals_the_portable_kernel_across_every_carry() {
    for cipher in Cipher::ALL {
        let key = key(cipher, noise());
        let portable = Portable.ctr(&key);
        for (name, kernel) in kernels(&key) {
            // Four groups of sixteen and more; the carry out of the low 32 bits happens in each place of a group.
            for blocks in 1..=67_u128 {
                for bits in [32, 64, 128] {
                    let first = (u128::MAX >> (128 - bits)).wrapping_sub(blocks / 2);
                    let iv = Iv::new(first.to_be_bytes());
                    let mut expected: Vec<u8> = noise().take(16 * blocks as usize).collect();
                    let mut found = expected.clone();
                    portable.apply(&iv, 0, expected.as_mut_slice().into());
                    kernel.apply(&iv, 0, found.as_mut_slice().into());
                    assert_eq!(
                        found, expected,
                        "{name} {cipher:?} {blocks} blocks from {first:x}"
                    );
                }
            }
        }
    }
}

#[test]
fn every_start_end_and_alignment_equals_the_portable_kernel() {
    let source: Vec<u8> = noise().take(700).collect();
    let iv = Iv::new([0xff; 16]);
    for cipher in Cipher::ALL {
        let key = key(cipher, noise());
        let portable = Portable.ctr(&key);
        for (name, kernel) in kernels(&key) {
            for offset in 0..18 {
                for len in [0, 1, 15, 16, 17, 64, 100, 255, 256, 257, 300, 599] {
                    // The data begins at every distance from an aligned address.
                    let start = (7 * offset + len) % 16;
                    let input = &source[start..start + len];
                    let mut expected = vec![0; len];
                    let mut copied = vec![0xee; 16 + len + 16];
                    let mut in_place = source.clone();
                    portable.apply(
                        &iv,
                        offset as u64,
                        InOutBuf::new(input, &mut expected).unwrap(),
                    );
                    kernel.apply(
                        &iv,
                        offset as u64,
                        InOutBuf::new(input, &mut copied[16..16 + len]).unwrap(),
                    );
                    kernel.apply(
                        &iv,
                        offset as u64,
                        (&mut in_place[start..start + len]).into(),
                    );
                    assert_eq!(
                        copied[16..16 + len],
                        expected,
                        "{name} {cipher:?} {offset}+{len}"
                    );
                    assert_eq!(
                        in_place[start..start + len],
                        expected,
                        "{name} {cipher:?} {offset}+{len} in place"
                    );
                    assert_eq!(
                        copied[..16],
                        [0xee; 16],
                        "{name} wrote before the destination"
                    );
                    assert_eq!(
                        copied[16 + len..],
                        [0xee; 16],
                        "{name} wrote behind the destination"
                    );
                    assert_eq!(
                        in_place[..start],
                        source[..start],
                        "{name} wrote before the data"
                    );
                    assert_eq!(
                        in_place[start + len..],
                        source[start + len..],
                        "{name} wrote behind the data"
                    );
                }
            }
        }
    }
}
