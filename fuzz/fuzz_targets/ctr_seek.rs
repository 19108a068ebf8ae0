//! A stream read in any pieces, from any offset, equals counter mode written out byte by byte.
//!
//! Input: cipher (1 byte), IV (16), key (32, as much of it as the cipher takes), offset (8, big-endian), length of the pieces (1), data.
#![no_main]

use aes::{Aes128, Aes192, Aes256};
use cipher::{Array, BlockCipherEncrypt, KeyInit};
use libfuzzer_sys::fuzz_target;
use sm4::Sm4;
use stillkey_core::{Cipher, CtrStream, DataKey, Iv, SecretBytes};

struct Input<'a> {
    cipher: Cipher,
    iv: [u8; 16],
    key: &'a [u8],
    offset: u64,
    piece: usize,
    data: &'a [u8],
}

fuzz_target!(|bytes: &[u8]| {
    if let Some(input) = parse(bytes) {
        check(&input);
    }
});

fn parse(bytes: &[u8]) -> Option<Input<'_>> {
    let (&[cipher], bytes) = bytes.split_first_chunk()?;
    let (&iv, bytes) = bytes.split_first_chunk()?;
    let (key, bytes) = bytes.split_at_checked(32)?;
    let (&offset, bytes) = bytes.split_first_chunk()?;
    let (&[piece], data) = bytes.split_first_chunk()?;
    let cipher = Cipher::ALL[usize::from(cipher) % Cipher::ALL.len()];
    Some(Input {
        cipher,
        iv,
        key: &key[..cipher.key_len()],
        offset: u64::from_be_bytes(offset),
        piece: usize::from(piece).max(1),
        data,
    })
}

fn check(input: &Input<'_>) {
    let key = DataKey::new(input.cipher, SecretBytes::copied(input.key)).expect("a fitting length");
    let mut stream = CtrStream::new(&key, Iv::new(input.iv));

    let mut whole = input.data.to_vec();
    if input.offset.checked_add(input.data.len() as u64).is_none() {
        assert!(stream.apply_at(input.offset, &mut whole).is_err());
        assert_eq!(whole, input.data, "an error changes nothing");
        return;
    }
    stream.apply_at(input.offset, &mut whole).expect("it fits");
    assert_eq!(whole, by_the_book(input), "from offset {}", input.offset);

    stream.seek(input.offset);
    let mut pieces = vec![0; input.data.len()];
    let from_to = input
        .data
        .chunks(input.piece)
        .zip(pieces.chunks_mut(input.piece));
    for (index, (from, to)) in from_to.enumerate() {
        if index % 2 == 0 {
            stream.apply_to(from, to).expect("it fits");
        } else {
            to.copy_from_slice(from);
            stream.apply(to).expect("it fits");
        }
    }
    assert_eq!(pieces, whole, "in pieces of {}", input.piece);
    assert_eq!(stream.position(), input.offset + input.data.len() as u64);

    stream.apply_at(input.offset, &mut whole).expect("it fits");
    assert_eq!(whole, input.data, "decrypted");
}

/// NIST SP 800-38A §6.5, one byte at a time, with the whole block as the counter.
fn by_the_book(input: &Input<'_>) -> Vec<u8> {
    let encrypt: Box<dyn Fn([u8; 16]) -> [u8; 16]> = match input.cipher {
        Cipher::Aes128 => block_cipher::<Aes128>(input.key),
        Cipher::Aes192 => block_cipher::<Aes192>(input.key),
        Cipher::Aes256 => block_cipher::<Aes256>(input.key),
        Cipher::Sm4 => block_cipher::<Sm4>(input.key),
    };
    let keystream = |position: u64| {
        let counter = u128::from_be_bytes(input.iv).wrapping_add(u128::from(position / 16));
        encrypt(counter.to_be_bytes())[(position % 16) as usize]
    };
    (input.offset..)
        .zip(input.data)
        .map(|(at, byte)| byte ^ keystream(at))
        .collect()
}

fn block_cipher<C>(key: &[u8]) -> Box<dyn Fn([u8; 16]) -> [u8; 16]>
where
    C: KeyInit + BlockCipherEncrypt<BlockSize = cipher::consts::U16> + 'static,
{
    let cipher = C::new_from_slice(key).expect("a fitting length");
    Box::new(move |block| {
        let mut block = Array::from(block);
        cipher.encrypt_block(&mut block);
        block.into()
    })
}
