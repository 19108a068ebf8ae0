//! The portable SM4 against the crate `sm4`, which looks its S-box up in a table and shares nothing with it.

use aes_gcm::aead::AeadInOut;
use aes_gcm::aead::consts::U12;
use aes_gcm::{AesGcm, KeyInit};
use proptest::collection::vec;
use proptest::prelude::*;
use sm4::Sm4;
use sm4::cipher::BlockCipherEncrypt;
use stillkey::Native;
use stillkey_core::cipher::{Aead, AeadKernel, AeadKey, CipherProvider, Portable};
use stillkey_core::{Cipher, DataKey, Iv, SecretBytes};
use stillkey_tests::cases;

fn aead_kernels(key: &[u8; 16]) -> [Box<dyn AeadKernel>; 2] {
    let key = AeadKey::new(Aead::Sm4Gcm, SecretBytes::copied(key)).unwrap();
    [Portable.aead(&key), Native::detect().aead(&key)]
}

proptest! {
    #![proptest_config(cases(200))]

    #[test]
    fn counter_mode_is_the_counters_encrypted_one_by_one(
        key: [u8; 16],
        iv: [u8; 16],
        first_block in prop_oneof![0..1_u64 << 40, (0..100_u64).prop_map(|back| u64::MAX / 16 - 100 + back)],
        skip in 0..16_u64,
        data in vec(any::<u8>(), 0..1200),
    ) {
        let oracle = Sm4::new(&key.into());
        let keystream = (first_block..).flat_map(|block| {
            let mut block = (*Iv::new(iv).at_block(block).as_bytes()).into();
            oracle.encrypt_block(&mut block);
            block
        });
        let expected: Vec<u8> = data.iter().zip(keystream.skip(skip as usize)).map(|(a, b)| a ^ b).collect();

        let kernel = Portable.ctr(&DataKey::new(Cipher::Sm4, SecretBytes::copied(&key)).unwrap());
        let mut found = data;
        kernel.apply(&Iv::new(iv), first_block * 16 + skip, found.as_mut_slice().into());
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn gcm_seals_and_opens_as_rustcryptos(key: [u8; 16], nonce: [u8; 12], data in vec(any::<u8>(), 0..1200)) {
        let oracle = AesGcm::<Sm4, U12>::new(&key.into());
        let mut expected = data.clone();
        let tag = oracle.encrypt_inout_detached((&nonce).into(), &[], expected.as_mut_slice().into());
        let tag: [u8; 16] = tag.unwrap().into();
        for kernel in aead_kernels(&key) {
            let mut sealed = data.clone();
            prop_assert_eq!(kernel.seal(&nonce, sealed.as_mut_slice().into()), Ok(tag));
            prop_assert_eq!(&sealed, &expected);
            prop_assert_eq!(kernel.open(&nonce, sealed.as_mut_slice().into(), &tag), Ok(()));
            prop_assert_eq!(&sealed, &data);
        }
    }

    #[test]
    fn gcm_opens_nothing_that_was_changed_and_leaves_it_as_it_is(
        key: [u8; 16],
        nonce: [u8; 12],
        data in vec(any::<u8>(), 0..600),
        place: prop::sample::Index,
        bit in 0..8_u32,
    ) {
        for kernel in aead_kernels(&key) {
            let mut message = data.clone();
            let tag = kernel.seal(&nonce, message.as_mut_slice().into()).unwrap();
            message.extend(tag);
            message[place.index(data.len() + 16)] ^= 1 << bit;
            let (sealed, tag) = message.split_last_chunk::<16>().unwrap();
            let mut opened = sealed.to_vec();
            prop_assert!(kernel.open(&nonce, opened.as_mut_slice().into(), tag).is_err());
            prop_assert_eq!(opened, sealed);
        }
    }
}
