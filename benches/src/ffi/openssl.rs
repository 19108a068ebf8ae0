//! The system's OpenSSL, through `openssl-sys` where the safe wrapper asks for the lengths of key and IV again in every call.

use std::ffi::c_int;
use std::ptr;

use foreign_types::ForeignType;
use openssl::cipher::{Cipher as Evp, CipherRef};
use openssl::cipher_ctx::CipherCtx;
use openssl_sys::{EVP_EncryptInit_ex, EVP_EncryptUpdate};
use stillkey_core::{Cipher, Iv};

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

    /// Starts anew at `counter`, with another key or the same.
    fn init(&mut self, key: Option<&[u8]>, counter: &[u8; Iv::LEN]) {
        let key = key.map_or(ptr::null(), <[u8]>::as_ptr);
        // SAFETY: the context is alive and has its cipher since `new`; `key` is null or, by the contract of `Stream`, as long as the
        // cipher's key; every counter mode here has an IV of 16 bytes.
        let done = unsafe {
            EVP_EncryptInit_ex(
                self.context.as_ptr(),
                ptr::null(),
                ptr::null_mut(),
                key,
                counter.as_ptr(),
            )
        };
        assert_eq!(done, 1, "OpenSSL takes the counter");
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
    fn rekey(&mut self, key: &[u8]) {
        let iv = self.iv;
        self.init(Some(key), iv.as_bytes());
    }

    fn apply(&mut self, offset: u64, data: &mut [u8]) {
        let (counter, skip) = position(self.iv, offset);
        self.init(None, &counter);
        if skip != 0 {
            self.update(&mut [0; 16][..skip]);
        }
        self.update(data);
    }
}
