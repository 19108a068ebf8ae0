//! Counter-mode streams: where one starts and in which pieces it runs never shows in the bytes.

use proptest::collection::vec;
use proptest::prelude::*;
use stillkey_core::{Cipher, CtrStream, DataKey, Iv, SecretBytes};
use stillkey_tests::cases;

prop_compose! {
    fn streams()(cipher in prop::sample::select(&Cipher::ALL[..]), key in any::<[u8; 32]>(), iv in near_edges())
        -> CtrStream
    {
        let key = DataKey::new(cipher, SecretBytes::copied(&key[..cipher.key_len()])).unwrap();
        CtrStream::new(&key, Iv::new(iv.to_be_bytes()))
    }
}

/// IVs, half of them a few blocks before a carry.
fn near_edges() -> impl Strategy<Value = u128> {
    prop_oneof![
        any::<u128>(),
        (any::<u64>(), 0..80_u128)
            .prop_map(|(high, back)| (u128::from(high) << 64).wrapping_sub(back)),
        (any::<u64>(), 0..80_u128)
            .prop_map(|(high, back)| (u128::from(high) << 32).wrapping_sub(back)),
        (0..80_u128).prop_map(|back| 0_u128.wrapping_sub(back)),
    ]
}

fn data() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..1000)
}

proptest! {
    #![proptest_config(cases(400))]

    #[test]
    fn seeking_equals_skipping(mut stream in streams(), skipped in 0..700_usize, data in data()) {
        let mut whole = [vec![0; skipped], data.clone()].concat();
        stream.apply(&mut whole).unwrap();
        let mut from_there = data;
        stream.seek(skipped as u64);
        stream.apply(&mut from_there).unwrap();
        prop_assert_eq!(&whole[skipped..], from_there);
        prop_assert_eq!(stream.position(), whole.len() as u64);
    }

    #[test]
    fn any_pieces_equal_the_whole(
        mut stream in streams(),
        offset in prop_oneof![0..100_u64, any::<u64>()],
        data in data(),
        pieces in vec(0..90_usize, 0..40),
    ) {
        let offset = offset.min(u64::MAX - data.len() as u64);
        let mut whole = data.clone();
        stream.apply_at(offset, &mut whole).unwrap();

        let mut in_pieces = data.clone();
        let mut rest = in_pieces.as_mut_slice();
        stream.seek(offset);
        for piece in pieces {
            let (head, tail) = rest.split_at_mut(piece.min(rest.len()));
            stream.apply(head).unwrap();
            rest = tail;
        }
        stream.apply(rest).unwrap();
        prop_assert_eq!(&in_pieces, &whole);

        stream.apply_at(offset, &mut whole).unwrap();
        prop_assert_eq!(whole, data, "decrypting is encrypting again");
    }

    #[test]
    fn source_to_destination_equals_in_place(stream in streams(), offset in 0..u64::MAX - 1000, data in data()) {
        let mut destination = vec![0x77; data.len()];
        stream.apply_at_to(offset, &data, &mut destination).unwrap();
        let mut in_place = data;
        stream.apply_at(offset, &mut in_place).unwrap();
        prop_assert_eq!(destination, in_place);
    }

    #[test]
    fn what_would_end_past_u64_is_refused_and_nothing_changed(mut stream in streams(), data in data(), over in 1..500_u64) {
        prop_assume!(!data.is_empty());
        let offset = (u64::MAX - data.len() as u64).saturating_add(over);
        let mut changed = data.clone();
        stream.seek(offset);
        let too_far = offset.checked_add(data.len() as u64).is_none();
        prop_assert_eq!(stream.apply(&mut changed).is_err(), too_far);
        if too_far {
            prop_assert_eq!(changed, data);
            prop_assert_eq!(stream.position(), offset);
        }
    }
}
