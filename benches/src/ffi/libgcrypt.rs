//! The system's libgcrypt, whose C interface has been the same since 1.6 (`libgcrypt.so.20`).

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::ptr;
use std::sync::LazyLock;

use libloading::{Library, Symbol};
use stillkey_core::{Cipher, DataKey, Iv};

use super::absent;
use crate::peers::{Stream, position};

const FILE: &str = "libgcrypt.so.20";

// Numbers of gcrypt.h.
const DISABLE_SECMEM: c_int = 37;
const INITIALIZATION_FINISHED: c_int = 38;
const MODE_CTR: c_int = 6;
const AES: [c_int; 3] = [7, 8, 9];
const SM4: c_int = 318;

/// `gcry_cipher_hd_t`.
type Handle = *mut c_void;

/// The functions that are used, with the types of gcrypt.h; they live as long as the process.
struct Api {
    version: String,
    open: Symbol<'static, unsafe extern "C" fn(*mut Handle, c_int, c_int, c_uint) -> c_uint>,
    close: Symbol<'static, unsafe extern "C" fn(Handle)>,
    setkey: Symbol<'static, unsafe extern "C" fn(Handle, *const u8, usize) -> c_uint>,
    setctr: Symbol<'static, unsafe extern "C" fn(Handle, *const u8, usize) -> c_uint>,
    encrypt: Symbol<'static, Encrypt>,
}

type Encrypt = unsafe extern "C" fn(Handle, *mut u8, usize, *const u8, usize) -> c_uint;

static API: LazyLock<Option<Api>> = LazyLock::new(|| Api::load().ok());

impl Api {
    fn load() -> Result<Self, libloading::Error> {
        type CheckVersion = unsafe extern "C" fn(*const c_char) -> *const c_char;
        type Control = unsafe extern "C" fn(c_int, ...) -> c_uint;
        // SAFETY: loading it runs its initializers, which libgcrypt has for every program that links it.
        let library: &'static Library = Box::leak(Box::new(unsafe { Library::new(FILE) }?));
        // SAFETY: every name is looked up with its type in gcrypt.h; the library is never unloaded. `gcry_check_version` has to be the
        // first call, takes null and returns a static string; then the two commands, which take an int, end the initialization.
        unsafe {
            let check_version = library.get::<CheckVersion>(c"gcry_check_version")?;
            let version = CStr::from_ptr(check_version(ptr::null()));
            let control = library.get::<Control>(c"gcry_control")?;
            control(DISABLE_SECMEM, 0 as c_int);
            control(INITIALIZATION_FINISHED, 0 as c_int);
            Ok(Self {
                version: version.to_string_lossy().into_owned(),
                open: library.get(c"gcry_cipher_open")?,
                close: library.get(c"gcry_cipher_close")?,
                setkey: library.get(c"gcry_cipher_setkey")?,
                setctr: library.get(c"gcry_cipher_setctr")?,
                encrypt: library.get(c"gcry_cipher_encrypt")?,
            })
        }
    }
}

pub(crate) fn version() -> Result<String, String> {
    let api = API.as_ref().ok_or_else(|| absent(FILE))?;
    Ok(api.version.clone())
}

/// An open handle with a key.
pub(crate) struct Ctr {
    api: &'static Api,
    handle: Handle,
    iv: Iv,
}

impl Ctr {
    pub(crate) fn new(cipher: Cipher, key: &[u8], iv: Iv) -> Option<Self> {
        let api = API.as_ref()?;
        let algorithm = match cipher {
            Cipher::Aes128 => AES[0],
            Cipher::Aes192 => AES[1],
            Cipher::Aes256 => AES[2],
            Cipher::Sm4 => SM4,
        };
        let mut handle = ptr::null_mut();
        // SAFETY: the function writes the handle to where it points, or fails: SM4 came with 1.9.
        let status = unsafe { (api.open)(&raw mut handle, algorithm, MODE_CTR, 0) };
        if status != 0 {
            return None;
        }
        let mut stream = Self { api, handle, iv };
        stream.set_key(key);
        Some(stream)
    }

    fn encrypt(&mut self, data: &mut [u8]) {
        // SAFETY: the handle is open; without an input the function works in place on the bytes of `data`.
        let status = unsafe {
            let (data, len) = (data.as_mut_ptr(), data.len());
            (self.api.encrypt)(self.handle, data, len, ptr::null(), 0)
        };
        assert_eq!(status, 0, "libgcrypt encrypts");
    }

    fn set_key(&mut self, key: &[u8]) {
        // SAFETY: the handle is open, and the function reads the bytes of `key`.
        let status = unsafe { (self.api.setkey)(self.handle, key.as_ptr(), key.len()) };
        assert_eq!(status, 0, "libgcrypt takes the key");
    }
}

impl Stream for Ctr {
    fn rekey(&mut self, key: &DataKey) {
        self.set_key(key.secret().danger_bytes());
    }

    fn apply(&mut self, offset: u64, data: &mut [u8]) {
        let (counter, skip) = position(self.iv, offset);
        // SAFETY: the handle is open, and the function reads the 16 bytes of the counter.
        let status = unsafe { (self.api.setctr)(self.handle, counter.as_ptr(), counter.len()) };
        assert_eq!(status, 0, "libgcrypt takes the counter");
        if skip != 0 {
            self.encrypt(&mut [0; 16][..skip]);
        }
        self.encrypt(data);
    }
}

impl Drop for Ctr {
    fn drop(&mut self) {
        // SAFETY: the handle is open, and nobody uses it after this.
        unsafe { (self.api.close)(self.handle) }
    }
}
