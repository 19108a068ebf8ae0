//! Bytes are a ciphertext blob only if they have exactly its format, and say then what they are. A blob that was sealed opens to its
//! plaintext, and not at all with another context, another key or version, or any byte changed, cut off or added.
//!
//! Input: length of the context (1 byte), where to change a byte (2, big-endian), what by (1), the context, the plaintext. All of it is also read
//! as a blob itself.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stillkey_core::SecretBytes;
use stillkey_core::kms::blob::{BlobSuite, CiphertextBlob, MAX_BLOB_LEN, MAX_PLAINTEXT_LEN};
use stillkey_core::kms::id::Id;
use stillkey_core::kms::key::ProtectionLevel;
use stillkey_core::kms::material::{KeeperError, KeptMaterial, MaterialKeeper, Place};
use stillkey_fuzz::kms::{Random, keeper};

const OVERHEAD: usize = 88;

fuzz_target!(|bytes: &[u8]| {
    check_any(bytes);
    let Some((&[context_len, high, low, change], rest)) = bytes.split_first_chunk() else {
        return;
    };
    let (context, plaintext) = rest.split_at(rest.len().min(context_len.into()));
    let at = u16::from_be_bytes([high, low]).into();
    check_sealed(context, plaintext, at, change);
});

fn place(version: u8) -> Place {
    Place {
        key: Id::from_bytes([1; 16]),
        version: Id::from_bytes([version; 16]),
        level: ProtectionLevel::Software,
    }
}

fn material() -> KeptMaterial {
    KeptMaterial::new(Vec::new(), Some(SecretBytes::new((0..32).collect())))
}

fn check_any(bytes: &[u8]) {
    let blob = match CiphertextBlob::inspect(bytes) {
        Ok(blob) => blob,
        Err(error) => {
            assert!(error.to_string().len() < 200, "{error}");
            return;
        }
    };
    assert!(bytes.len() <= MAX_BLOB_LEN);
    assert_eq!(bytes.len(), blob.plaintext_len() + OVERHEAD);
    assert_eq!(blob.bytes(), bytes);
    assert_eq!(bytes[..5], [0x9a, b'L', b'K', b'M', 1]);
    let suite = match blob.suite() {
        BlobSuite::Aes256Gcm => 1,
        BlobSuite::Sm4Gcm => 2,
        BlobSuite::HsmAes256Gcm => 3,
    };
    assert_eq!(bytes[5..8], [suite, 0, 0]);
    assert_eq!(bytes[8..24], *blob.key().as_bytes());
    assert_eq!(bytes[24..40], *blob.version().as_bytes());
    assert!(suite != 3 || bytes[40..56] == [0; 16]);
    assert_eq!(bytes[56..68], *blob.nonce());
    let (ciphertext, tag) = blob.sealed();
    assert_eq!((ciphertext.len(), tag.len()), (blob.plaintext_len(), 16));
    assert_eq!([ciphertext, tag].concat(), bytes[72..]);
    assert_eq!(
        blob.aad(b"context"),
        [b"lkms/v1/aad", &bytes[..72], b"context"].concat()
    );
    // Nobody makes a blob by trying.
    let opened = keeper().open(&place(2), &material(), &blob, b"context");
    assert_eq!(opened, Err(KeeperError::NotAuthentic));
    let longer = [bytes, &[0]].concat();
    for other in [&bytes[..bytes.len() - 1], &longer] {
        assert!(CiphertextBlob::inspect(other).is_err());
    }
}

fn check_sealed(context: &[u8], plaintext: &[u8], at: usize, change: u8) {
    let (keeper, material) = (keeper(), material());
    let mut random = Random::new(change.into());
    let sealed = keeper.seal(&place(2), &material, plaintext, context, &mut random);
    if plaintext.len() > MAX_PLAINTEXT_LEN {
        assert!(sealed.is_err());
        return;
    }
    let mut sealed = sealed.expect("a short plaintext");
    let open = |bytes: &[u8], context: &[u8]| {
        let blob = CiphertextBlob::inspect(bytes).ok()?;
        let opened = keeper.open(&place(2), &material, &blob, context).ok()?;
        Some(opened.danger_bytes().to_vec())
    };
    assert_eq!(open(&sealed, context).as_deref(), Some(plaintext));
    let other_context = [context, &[change]].concat();
    assert_eq!(open(&sealed, &other_context), None);
    let same = keeper.seal(
        &place(2),
        &material,
        plaintext,
        context,
        &mut Random::new(change.into()),
    );
    assert_eq!(same.as_ref(), Ok(&sealed));
    let of_other_version = keeper.seal(
        &place(3),
        &material,
        plaintext,
        context,
        &mut Random::new(change.into()),
    );
    let mut of_other_version = of_other_version.expect("a short plaintext");
    assert_ne!(of_other_version, sealed);
    // Its body under the other version's name.
    of_other_version[..72].copy_from_slice(&sealed[..72]);
    assert_eq!(open(&of_other_version, context), None);

    for shorter in [0, 1, 72, sealed.len() - 1] {
        assert_eq!(open(&sealed[..shorter], context), None);
    }
    if change != 0 {
        let at = at % sealed.len();
        sealed[at] ^= change;
        assert_eq!(
            open(&sealed, context),
            None,
            "byte {at} changed by {change}"
        );
    }
}
