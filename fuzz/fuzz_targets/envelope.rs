//! An envelope opens to what was sealed or not at all, whatever one byte of it was changed to; and any message keeps its meaning when rewritten.
//!
//! Input: where to change a byte (2, big-endian), what by (1), then the payload, which is also read as an envelope itself.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use stillkey_core::{
    EncryptionContext, Envelope, Error, KeyService, MasterKey, RawMasterKey, SecretBytes,
    WrappedKey,
};
use stillkey_fuzz::CountingRng;

/// "Wraps" a key by keeping it as it is.
#[derive(Debug)]
struct Service;

impl KeyService for Service {
    fn vendor(&self) -> &str {
        "AWS"
    }

    fn provider(&self) -> u8 {
        0
    }

    fn wrap(&self, key: &SecretBytes, _: &EncryptionContext) -> Result<WrappedKey, Error> {
        Ok(WrappedKey {
            blob: key.danger_bytes().to_vec(),
            ..WrappedKey::default()
        })
    }

    fn unwrap(&self, wrapped: &WrappedKey, _: &EncryptionContext) -> Result<SecretBytes, Error> {
        Ok(SecretBytes::copied(&wrapped.blob))
    }
}

fuzz_target!(|bytes: &[u8]| {
    check_message(bytes);
    let Some((&[high, low, change], payload)) = bytes.split_first_chunk() else {
        return;
    };
    check_message(payload);
    for master_key in [raw(), MasterKey::Service(Arc::new(Service))] {
        let payload = SecretBytes::copied(payload);
        let sealed = Envelope::seal(&payload, &master_key, &mut CountingRng::default())
            .expect("no I/O, no failure");
        assert_eq!(sealed.open(&master_key).as_ref(), Ok(&payload));
        let mut message = sealed.to_bytes();
        let at = usize::from(u16::from_be_bytes([high, low])) % message.len();
        message[at] ^= change;
        if let Ok(opened) =
            Envelope::from_bytes(&message).and_then(|changed| changed.open(&master_key))
        {
            assert_eq!(
                opened, payload,
                "a changed envelope opened to something else"
            );
        }
        check_message(&message);
    }
});

fn raw() -> MasterKey {
    let key = SecretBytes::new(vec![0x42; RawMasterKey::LEN]);
    MasterKey::Raw(RawMasterKey::new(key).expect("a fitting length"))
}

fn check_message(bytes: &[u8]) {
    let Ok(envelope) = Envelope::from_bytes(bytes) else {
        return;
    };
    let written = envelope.to_bytes();
    let again = Envelope::from_bytes(&written).expect("our own bytes");
    assert_eq!(again, envelope);
    assert_eq!(again.to_bytes(), written);
    assert_eq!(again.sealing(), envelope.sealing());
    for master_key in [
        raw(),
        MasterKey::Service(Arc::new(Service)),
        MasterKey::Plaintext,
    ] {
        assert_eq!(again.open(&master_key), envelope.open(&master_key));
    }
}
