//! No bytes make the reader of `key.dict` and of envelopes fail in any way but an error, and what it read it can seal and open again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stillkey_core::{Envelope, KeyDictionary, MasterKey, RawMasterKey, SecretBytes};
use stillkey_fuzz::{CountingRng, with_right_checksums};

fuzz_target!(|bytes: &[u8]| {
    check_file(bytes);
    check_file(&with_right_checksums(bytes));
    if let Ok(envelope) = Envelope::from_bytes(bytes) {
        let written = envelope.to_bytes();
        assert_eq!(Envelope::from_bytes(&written), Ok(envelope));
    }
});

fn check_file(file: &[u8]) {
    let raw = MasterKey::Raw(
        RawMasterKey::new(SecretBytes::new(vec![0x42; RawMasterKey::LEN]))
            .expect("a fitting length"),
    );
    let _ = KeyDictionary::open(file, &raw);
    let Ok(mut keys) = KeyDictionary::open(file, &MasterKey::Plaintext) else {
        return;
    };
    for (id, entry) in keys.iter() {
        let _ = keys.data_key(id, entry.method);
    }
    let _ = keys.current();
    for master_key in [raw, MasterKey::Plaintext] {
        let sealed = keys
            .seal(&master_key, &mut CountingRng::default())
            .expect("no I/O, no failure");
        assert_eq!(KeyDictionary::open(&sealed, &master_key), Ok(keys));
        keys = KeyDictionary::open(&sealed, &master_key).expect("opened just now");
    }
}
