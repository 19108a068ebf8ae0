//! The protobuf messages in both directions against prost: whatever order, duplicates and unknown fields they come with.

use std::collections::BTreeMap;

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use prost::Message;
use stillkey_core::{
    Envelope, FileDictionary, FileInfo, Iv, KeyDictionary, KeyEntry, MasterKey, Method, Reading,
    Record, SecretBytes, Version,
};
use stillkey_tests::random::Seeded;
use stillkey_tests::{cases, hex, oracle, raw_master_key};

const KEY: [u8; 32] = [0x33; 32];

fn master_key() -> MasterKey {
    raw_master_key(&hex::encode(&KEY))
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value > 0x7f {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

fn tag(number: u32, wire_type: u32) -> Vec<u8> {
    varint(u64::from(number << 3 | wire_type))
}

fn delimited(number: u32, bytes: &[u8]) -> Vec<u8> {
    [tag(number, 2), varint(bytes.len() as u64), bytes.to_vec()].concat()
}

/// A field that no message here has, of any wire type.
fn unknown_field() -> impl Strategy<Value = Vec<u8>> {
    let number = prop_oneof![6..20_u32, 6..(1_u32 << 29)];
    let plain = (
        number.clone(),
        0..4_u32,
        any::<u64>(),
        vec(any::<u8>(), 0..20),
    )
        .prop_map(|(number, kind, value, bytes)| match kind {
            0 => [tag(number, 0), varint(value)].concat(),
            1 => [tag(number, 1), value.to_le_bytes().to_vec()].concat(),
            2 => delimited(number, &bytes),
            _ => [tag(number, 5), (value as u32).to_le_bytes().to_vec()].concat(),
        });
    let group = (number, vec(plain.clone(), 0..3))
        .prop_map(|(number, fields)| [tag(number, 3), fields.concat(), tag(number, 4)].concat());
    prop_oneof![4 => plain, 1 => group]
}

/// The fields in any order. Duplicates are among them, so that the last one has to count.
fn shuffled(fields: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    Just(fields)
        .prop_shuffle()
        .prop_map(|fields| fields.concat())
}

/// A varint field; sometimes written longer than it needs to be.
fn number_field(number: u32, values: impl Strategy<Value = u64>) -> impl Strategy<Value = Vec<u8>> {
    (values, any::<bool>()).prop_map(move |(value, long)| {
        let mut bytes = varint(value);
        if long && bytes.len() < 9 {
            *bytes.last_mut().unwrap() |= 0x80;
            bytes.push(0);
        }
        [tag(number, 0), bytes].concat()
    })
}

fn bytes_field(number: u32, most: usize) -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..=most).prop_map(move |bytes| delimited(number, &bytes))
}

fn method_number() -> impl Strategy<Value = u64> {
    prop_oneof![0..7_u64, (-3..0_i64).prop_map(|number| number as u64)]
}

fn message(fields: impl Strategy<Value = Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    vec(fields, 0..8).prop_flat_map(shuffled)
}

fn file_info() -> impl Strategy<Value = Vec<u8>> {
    message(prop_oneof![
        3 => number_field(1, any::<u64>()),
        3 => bytes_field(2, 20),
        3 => number_field(3, method_number()),
        1 => unknown_field(),
    ])
}

fn data_key() -> impl Strategy<Value = Vec<u8>> {
    message(prop_oneof![
        3 => bytes_field(1, 40),
        3 => number_field(2, method_number()),
        3 => number_field(3, any::<u64>()),
        3 => number_field(4, 0..2_u64),
        1 => unknown_field(),
    ])
}

/// A map entry: each half may be missing, and they come in any order.
fn entry(
    key: impl Strategy<Value = Vec<u8>>,
    value: impl Strategy<Value = Vec<u8>>,
) -> impl Strategy<Value = Vec<u8>> {
    (
        prop::option::weighted(0.9, key),
        prop::option::weighted(0.9, value.prop_map(|value| delimited(2, &value))),
        prop::option::weighted(0.1, unknown_field()),
    )
        .prop_flat_map(|(key, value, unknown)| {
            shuffled([key, value, unknown].into_iter().flatten().collect())
        })
        .prop_map(|entry| delimited(1, &entry))
}

fn name_field() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof!["[ab]?", ".{0,30}"].prop_map(|name| delimited(1, name.as_bytes()))
}

fn file_dictionary() -> impl Strategy<Value = Vec<u8>> {
    message(prop_oneof![5 => entry(name_field(), file_info()), 1 => unknown_field()])
}

fn key_dictionary() -> impl Strategy<Value = Vec<u8>> {
    let id = prop_oneof![0..3_u64, any::<u64>()];
    message(prop_oneof![
        5 => entry(number_field(1, id.clone()), data_key()),
        1 => number_field(2, id),
        1 => unknown_field(),
    ])
}

fn envelope() -> impl Strategy<Value = Vec<u8>> {
    message(prop_oneof![
        3 => entry(name_field(), vec(any::<u8>(), 0..30)),
        2 => bytes_field(2, 60),
        1 => unknown_field(),
    ])
}

/// With one byte changed.
fn mutated(message: impl Strategy<Value = Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    (message, any::<prop::sample::Index>(), any::<u8>()).prop_map(|(mut message, at, with)| {
        if !message.is_empty() {
            let at = at.index(message.len());
            message[at] ^= with;
        }
        message
    })
}

fn file_info_of(info: &FileInfo) -> oracle::FileInfo {
    oracle::FileInfo {
        key_id: info.key_id,
        iv: info.iv_bytes().to_vec(),
        method: info.method.0,
    }
}

fn assert_same_files(found: &FileDictionary, expected: &BTreeMap<String, oracle::FileInfo>) {
    let found: BTreeMap<_, _> = found
        .iter()
        .map(|(name, info)| (name.to_owned(), file_info_of(info)))
        .collect();
    assert_eq!(&found, expected);
}

fn assert_same_keys(found: &KeyDictionary, expected: &oracle::KeyDictionary) {
    let keys = found
        .iter()
        .map(|(id, entry)| {
            let key = oracle::DataKey {
                key: entry.key.danger_bytes().to_vec(),
                method: entry.method.0,
                creation_time: entry.creation_time,
                was_exposed: entry.was_exposed,
            };
            (id, key)
        })
        .collect();
    let found = oracle::KeyDictionary {
        keys,
        current_key_id: found.current_key_id(),
    };
    assert_eq!(&found, expected);
}

/// A key.dict whose payload is `message`, sealed by OpenSSL.
fn key_dict(message: &[u8]) -> Vec<u8> {
    oracle::frame(
        1,
        &oracle::seal_gcm(message, &KEY, &[9; 12]).encode_to_vec(),
        &[],
    )
}

fn opened(file: &[u8]) -> Vec<u8> {
    let (_, content, _) = oracle::unframe(file).unwrap();
    oracle::open_gcm(&oracle::EncryptedContent::decode(content).unwrap(), &KEY).unwrap()
}

proptest! {
    #![proptest_config(cases(1500))]

    #[test]
    fn file_dictionaries_mean_the_same_to_prost_before_and_after_a_rewrite(message in file_dictionary()) {
        let expected = oracle::FileDictionary::decode(message.as_slice()).unwrap().files;
        let read = FileDictionary::open(&oracle::frame(2, &message, &[])).unwrap();
        assert_same_files(&read, &expected);
        for version in [Version::V1, Version::V2] {
            let file = read.to_bytes(version);
            prop_assert_eq!(&FileDictionary::open(&file).unwrap(), &read, "unknown fields included");
            prop_assert_eq!(&oracle::read_file_dict(&file).unwrap().files, &expected);
            prop_assert_eq!(FileDictionary::open(&file).unwrap().to_bytes(version), file);
        }
    }

    #[test]
    fn key_dictionaries_mean_the_same_to_prost_before_and_after_a_rewrite(message in key_dictionary()) {
        let expected = oracle::KeyDictionary::decode(message.as_slice()).unwrap();
        let mut read = KeyDictionary::open(&key_dict(&message), &master_key()).unwrap();
        assert_same_keys(&read, &expected);
        let file = read.seal(&master_key(), &mut Seeded(1)).unwrap();
        prop_assert_eq!(&KeyDictionary::open(&file, &master_key()).unwrap(), &read, "unknown fields included");
        let payload = opened(&file);
        prop_assert_eq!(oracle::KeyDictionary::decode(payload.as_slice()).unwrap(), expected);
        let mut again = KeyDictionary::open(&file, &master_key()).unwrap();
        prop_assert_eq!(opened(&again.seal(&master_key(), &mut Seeded(2)).unwrap()), payload);
    }

    #[test]
    fn envelopes_mean_the_same_to_prost_before_and_after_a_rewrite(message in envelope()) {
        let expected = oracle::EncryptedContent::decode(message.as_slice()).unwrap();
        let read = Envelope::from_bytes(&message).unwrap();
        prop_assert_eq!(read.sealing().payload_len, expected.content.len());
        let bytes = read.to_bytes();
        prop_assert_eq!(oracle::EncryptedContent::decode(bytes.as_slice()).unwrap(), expected);
        prop_assert_eq!(&Envelope::from_bytes(&bytes).unwrap(), &read);
        prop_assert_eq!(Envelope::from_bytes(&bytes).unwrap().to_bytes(), bytes);
    }

    #[test]
    fn log_records_mean_the_same_to_prost_before_and_after_a_rewrite(info in file_info(), name in ".{0,30}") {
        let file = oracle::frame(2, &[], &oracle::record(1, name.as_bytes(), &info));
        let read = FileDictionary::recover(&file, Reading::Tikv).unwrap().into_dictionary().unwrap();
        let found = read.get(&name).unwrap();
        prop_assert_eq!(file_info_of(found), oracle::FileInfo::decode(info.as_slice()).unwrap());
        let record = Record::Insert { name: &name, info: found.clone() }.to_bytes().unwrap();
        let file = [FileDictionary::new().to_bytes(Version::V2), record].concat();
        prop_assert_eq!(&FileDictionary::open(&file).unwrap(), &read, "unknown fields included");
        prop_assert_eq!(file_info_of(found), oracle::read_file_dict(&file).unwrap().files[&name].clone());
    }

    #[test]
    fn mutated_information_is_a_message_here_exactly_when_it_is_one_to_prost(
        info in prop_oneof![mutated(file_info()), vec(any::<u8>(), 0..40)],
    ) {
        let file = oracle::frame(2, &[], &oracle::record(1, b"a", &info));
        let ours = FileDictionary::recover(&file, Reading::Tikv).unwrap().into_dictionary();
        match (ours, oracle::FileInfo::decode(info.as_slice())) {
            (Ok(ours), Ok(theirs)) => prop_assert_eq!(file_info_of(ours.get("a").unwrap()), theirs),
            (Err(_), Err(_)) => {}
            (Ok(_), Err(theirs)) => prop_assert!(tolerated(&theirs), "{}: {theirs:?}", hex::encode(&info)),
            (Err(ours), Ok(_)) => prop_assert!(false, "{}: {ours}", hex::encode(&info)),
        }
    }

    /// One way only: prost doesn't look at the wire type of a map field.
    #[test]
    fn mutated_dictionaries_are_messages_here_only_if_they_are_to_prost(message in mutated(file_dictionary())) {
        if let Ok(ours) = FileDictionary::open(&oracle::frame(2, &message, &[])) {
            match oracle::FileDictionary::decode(message.as_slice()) {
                Ok(theirs) => prop_assert_eq!(ours.len(), theirs.files.len()),
                Err(theirs) => prop_assert!(tolerated(&theirs), "{}: {theirs:?}", hex::encode(&message)),
            }
        }
    }

    #[test]
    fn what_is_built_here_is_read_by_prost(
        files in btree_map(".{0,20}", (any::<u64>(), any::<[u8; 16]>(), prop::sample::select(&Method::ALL[..])), 0..9),
        keys in btree_map(any::<u64>(), (vec(any::<u8>(), 0..40), any::<u64>(), any::<bool>(), prop::sample::select(&Method::ALL[..])), 0..9),
    ) {
        let mut dictionary = FileDictionary::new();
        for (name, (key_id, iv, method)) in &files {
            let info = match method {
                Method::Plaintext => FileInfo::plaintext(*key_id),
                method => FileInfo::encrypted(*key_id, Iv::new(*iv), *method),
            };
            dictionary.insert(name.as_str(), info);
        }
        for version in [Version::V1, Version::V2] {
            let file = dictionary.to_bytes(version);
            assert_same_files(&dictionary, &oracle::read_file_dict(&file).unwrap().files);
            prop_assert_eq!(&FileDictionary::open(&file).unwrap(), &dictionary);
        }
        let mut dictionary = KeyDictionary::new();
        for (id, (key, creation_time, was_exposed, method)) in &keys {
            let mut entry = KeyEntry::new(SecretBytes::copied(key), *method, *creation_time);
            entry.was_exposed = *was_exposed;
            dictionary.insert(*id, entry);
        }
        let file = dictionary.seal(&master_key(), &mut Seeded(3)).unwrap();
        assert_same_keys(&dictionary, &oracle::KeyDictionary::decode(opened(&file).as_slice()).unwrap());
        prop_assert_eq!(KeyDictionary::open(&file, &master_key()).unwrap(), dictionary);
    }
}

#[test]
fn a_map_entry_is_malformed_if_any_of_its_repeated_halves_is() {
    let wrong = [tag(1, 0), varint(5)].concat();
    for half in [wrong, delimited(2, b"\xff"), delimited(1, b"\xff")] {
        let entry = [half, delimited(1, b"a"), delimited(2, b"")].concat();
        let file = oracle::frame(2, &delimited(1, &entry), &[]);
        assert!(oracle::read_file_dict(&file).is_err());
        assert!(
            FileDictionary::open(&file).is_err(),
            "{}",
            hex::encode(&entry)
        );
    }
}

#[test]
fn a_group_ends_only_at_its_own_end_tag() {
    let group = |end| [tag(16, 3), tag(9, 0), varint(1), tag(end, 4)].concat();
    let open = |message: &[u8]| FileDictionary::open(&oracle::frame(2, message, &[]));
    assert!(open(&group(16)).is_ok());
    assert!(open(&group(9)).is_err());
    assert!(oracle::FileDictionary::decode(group(9).as_slice()).is_err());
}

/// What this reader accepts and prost doesn't: a number of more than 64 bits, which is cut off.
fn tolerated(theirs: &prost::DecodeError) -> bool {
    format!("{theirs:?}").contains("InvalidVarint")
}
