//! A stream read in any pieces, from any offset, equals counter mode written out byte by byte.
//!
//! Input: cipher (1 byte), IV (16), key (32, as much of it as the cipher takes), offset (8, big-endian), length of the pieces (1), data.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stillkey_core::{Cipher, CtrStream, DataKey, Iv, SecretBytes};
use stillkey_fuzz::by_the_book;

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
    let expected = by_the_book(input.cipher, input.key, input.iv, input.offset, input.data);
    assert_eq!(whole, expected, "from offset {}", input.offset);

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
