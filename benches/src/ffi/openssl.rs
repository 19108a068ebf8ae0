//! The system's OpenSSL, through `openssl-sys` where the safe wrapper asks for the lengths of key and IV again in every call.

use std::ffi::c_int;
use std::ptr;

use foreign_types::ForeignType;
use openssl::cipher::{Cipher as Evp, CipherRef};
use openssl::cipher_ctx::CipherCtx;
use openssl_sys::{EVP_EncryptInit_ex, EVP_EncryptUpdate};
use stillkey_core::{Cipher, DataKey, Iv};

use crate::peers::{Stream, position};

pub(crate) struct Ctr {
    context: CipherCtx,
    iv: Iv,
}

pub(crate) fn version() -> String {
    openssl::version::version().to_owned()
}

fn evp(cipher: Cipher) -> &'static CipherRef {
    match cipher {
        Cipher::Aes128 => Evp::aes_128_ctr(),
        Cipher::Aes192 => Evp::aes_192_ctr(),
        Cipher::Aes256 => Evp::aes_256_ctr(),
        Cipher::Sm4 => Evp::sm4_ctr(),
    }
}

impl Ctr {
    pub(crate) fn new(cipher: Cipher, key: &[u8], iv: Iv) -> Option<Self> {
        let mut context = CipherCtx::new().expect("memory for a context");
        let cipher = Some(evp(cipher));
        context
            .encrypt_init(cipher, Some(key), Some(iv.as_bytes()))
            .ok()?;
        Some(Self { context, iv })
    }

    /// Sets what is given and keeps the rest. `key` is as long as the cipher's.
    fn init(&mut self, key: Option<&[u8]>, counter: Option<&[u8; Iv::LEN]>) {
        let key = key.map_or(ptr::null(), <[u8]>::as_ptr);
        let counter = counter.map_or(ptr::null(), |counter| counter.as_ptr());
        // SAFETY: the context is alive and has its cipher since `new`; `key` is null or as long as the cipher's,
        // as the caller sees to it; every counter mode here has an IV of 16 bytes.
        let done = unsafe {
            EVP_EncryptInit_ex(
                self.context.as_ptr(),
                ptr::null(),
                ptr::null_mut(),
                key,
                counter,
            )
        };
        assert_eq!(done, 1, "OpenSSL takes key and counter");
    }

    fn update(&mut self, data: &mut [u8]) {
        let len = c_int::try_from(data.len()).expect("buffers are shorter than 2 GiB");
        let mut written = 0;
        // SAFETY: the context is alive; OpenSSL works in place where both pointers are equal, and a counter mode writes as many bytes
        // as it reads: `len`, all of them in `data`.
        let done = unsafe {
            let data = data.as_mut_ptr();
            EVP_EncryptUpdate(self.context.as_ptr(), data, &raw mut written, data, len)
        };
        assert_eq!(done, 1, "OpenSSL encrypts");
    }
}

impl Stream for Ctr {
    fn rekey(&mut self, key: &DataKey) {
        let key = key.secret().danger_bytes();
        self.init(Some(key), None);
    }

    fn apply(&mut self, offset: u64, data: &mut [u8]) {
        let (counter, skip) = position(self.iv, offset);
        self.init(None, Some(&counter));
        if skip != 0 {
            self.update(&mut [0; 16][..skip]);
        }
        self.update(data);
    }
}
