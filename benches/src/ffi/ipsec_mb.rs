//! Intel's Multi-Buffer Crypto for IPsec: a burst of one job per call, unchecked, which is its shortest way to AES-CTR.
//!
//! Its functions are fields of a structure, so the layout has to be known: it is, for 1.3, which Debian 12 has. It has no SM4.

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::ptr;
use std::sync::LazyLock;

use libloading::Library;
use stillkey_core::{Cipher, DataKey, Iv};

use super::absent;
use crate::peers::{Stream, from_within_a_block};

const FILE: &str = "libIPSec_MB.so.1";
const KNOWN_VERSION: &str = "1.3.";

// Numbers of intel-ipsec-mb.h, 1.3: places of fields in IMB_MGR in bytes, and enumerations.
const KEYEXP_AT: usize = 112;
const CIPHER_BURST_NOCHECK_AT: usize = 992;
const CIPHER_CNTR: c_int = 2;
const DIR_ENCRYPT: c_int = 1;
const AUTH_NULL: c_int = 8;
const ORDER_CIPHER_HASH: c_int = 1;
const STATUS_COMPLETED: c_int = 3;

/// `IMB_MGR`.
type Manager = *mut c_void;
type KeyExpansion = unsafe extern "C" fn(*const u8, *mut Schedule, *mut Schedule);
type Burst = unsafe extern "C" fn(Manager, *mut Job, c_uint, c_int, c_int, c_int) -> c_uint;

/// `IMB_JOB`, up to what is used.
#[repr(C)]
struct Job {
    enc_keys: *const Schedule,
    dec_keys: *const Schedule,
    key_len_in_bytes: u64,
    src: *const u8,
    dst: *mut u8,
    cipher_start_src_offset_in_bytes: u64,
    msg_len_to_cipher_in_bytes: u64,
    hash_start_src_offset_in_bytes: u64,
    msg_len_to_hash_in_bytes: u64,
    iv: *const u8,
    iv_len_in_bytes: u64,
    auth_tag_output: *mut u8,
    auth_tag_output_len_in_bytes: u64,
    hash_specific: [u64; 3],
    status: c_int,
    cipher_mode: c_int,
    cipher_direction: c_int,
    hash_alg: c_int,
    chain_order: c_int,
    unused: [u64; 6],
}

const _: () = assert!(size_of::<Job>() == 200);

/// Fifteen round keys.
#[repr(C, align(64))]
struct Schedule([u8; 240]);

#[derive(Clone, Copy)]
struct Api {
    manager: Manager,
    /// For 128, 192 and 256 bits.
    expand: [KeyExpansion; 3],
    burst: Burst,
    free: unsafe extern "C" fn(Manager),
}

static VERSION: LazyLock<Result<String, String>> = LazyLock::new(|| {
    let version = find_version().map_err(|_| absent(FILE))?;
    if version.starts_with(KNOWN_VERSION) {
        Ok(version)
    } else {
        Err(format!(
            "{FILE} is {version}; the layout of {KNOWN_VERSION}x alone is known"
        ))
    }
});

fn library() -> Result<&'static Library, libloading::Error> {
    // SAFETY: loading it runs its initializers, which it has for every program that links it.
    let library = unsafe { Library::new(FILE) }?;
    Ok(Box::leak(Box::new(library)))
}

fn find_version() -> Result<String, libloading::Error> {
    type Version = unsafe extern "C" fn() -> *const c_char;
    // SAFETY: the name has this type in every version of the header; it returns a static string.
    let version = unsafe { CStr::from_ptr(library()?.get::<Version>(c"imb_get_version_str")?()) };
    Ok(version.to_string_lossy().into_owned())
}

pub(crate) fn version() -> Result<String, String> {
    VERSION.clone()
}

impl Api {
    /// A manager of its own, set up for this processor.
    fn new() -> Result<Self, libloading::Error> {
        type Alloc = unsafe extern "C" fn(u64) -> Manager;
        type Init = unsafe extern "C" fn(Manager, *mut c_int);
        let library = library()?;
        // SAFETY: the names have these types in the header of 1.3, which the caller has seen to be the version; the manager that they make
        // is checked before its fields are read, at the places where that header's IMB_MGR has function pointers of these types.
        unsafe {
            let alloc = library.get::<Alloc>(c"alloc_mb_mgr")?;
            let init = library.get::<Init>(c"init_mb_mgr_auto")?;
            let manager = alloc(0);
            assert!(!manager.is_null(), "memory for a manager");
            init(manager, ptr::null_mut());
            let fields = manager.cast::<u8>();
            Ok(Self {
                manager,
                expand: fields.add(KEYEXP_AT).cast::<[KeyExpansion; 3]>().read(),
                burst: fields.add(CIPHER_BURST_NOCHECK_AT).cast::<Burst>().read(),
                free: *library.get(c"free_mb_mgr")?,
            })
        }
    }
}

/// A manager with one job.
pub(crate) struct Ctr {
    api: Api,
    cipher: Cipher,
    /// For encryption and for decryption, as its key expansion has it.
    schedules: Box<[Schedule; 2]>,
    job: Job,
    iv: Iv,
}

impl Ctr {
    pub(crate) fn new(cipher: Cipher, key: &[u8], iv: Iv) -> Option<Self> {
        if cipher == Cipher::Sm4 || VERSION.is_err() {
            return None;
        }
        let schedules = Box::new([const { Schedule([0; 240]) }; 2]);
        let job = Job {
            enc_keys: ptr::null(),
            dec_keys: ptr::null(),
            key_len_in_bytes: key.len() as u64,
            src: ptr::null(),
            dst: ptr::null_mut(),
            cipher_start_src_offset_in_bytes: 0,
            msg_len_to_cipher_in_bytes: 0,
            hash_start_src_offset_in_bytes: 0,
            msg_len_to_hash_in_bytes: 0,
            iv: ptr::null(),
            iv_len_in_bytes: Iv::LEN as u64,
            auth_tag_output: ptr::null_mut(),
            auth_tag_output_len_in_bytes: 0,
            hash_specific: [0; 3],
            status: 0,
            cipher_mode: CIPHER_CNTR,
            cipher_direction: DIR_ENCRYPT,
            hash_alg: AUTH_NULL,
            chain_order: ORDER_CIPHER_HASH,
            unused: [0; 6],
        };
        let mut stream = Self {
            api: Api::new().ok()?,
            cipher,
            schedules,
            job,
            iv,
        };
        stream.set_key(key);
        Some(stream)
    }

    fn encrypt(&mut self, counter: &[u8; Iv::LEN], data: &mut [u8]) {
        let [enc, dec] = &*self.schedules;
        (self.job.enc_keys, self.job.dec_keys) = (enc, dec);
        self.job.src = data.as_ptr();
        self.job.dst = data.as_mut_ptr();
        self.job.msg_len_to_cipher_in_bytes = data.len() as u64;
        self.job.iv = counter.as_ptr();
        let key_len = c_int::try_from(self.cipher.key_len()).expect("at most 32");
        // SAFETY: the job points to `data`, `counter` and the expanded keys, all alive through the call, with their lengths; the manager
        // is this one's own; the job is complete, so that it needs no check.
        let done = unsafe {
            let job = &raw mut self.job;
            (self.api.burst)(self.api.manager, job, 1, CIPHER_CNTR, DIR_ENCRYPT, key_len)
        };
        assert!(
            done == 1 && self.job.status == STATUS_COMPLETED,
            "the job is done"
        );
    }

    /// `key` is as long as the cipher's.
    fn set_key(&mut self, key: &[u8]) {
        let [for_128, for_192, for_256] = self.api.expand;
        let expand = match self.cipher {
            Cipher::Aes192 => for_192,
            Cipher::Aes256 => for_256,
            _ => for_128,
        };
        let [enc, dec] = &mut *self.schedules;
        // SAFETY: the caller's `key` is as long as the cipher's, which is all that is read; both schedules have room for the longest one.
        unsafe { expand(key.as_ptr(), enc, dec) }
    }
}

impl Stream for Ctr {
    fn rekey(&mut self, key: &DataKey) {
        self.set_key(key.secret().danger_bytes());
    }

    fn apply(&mut self, offset: u64, data: &mut [u8]) {
        from_within_a_block(self.iv, offset, data, |counter, data| {
            self.encrypt(counter, data)
        });
    }
}

impl Drop for Ctr {
    fn drop(&mut self) {
        // SAFETY: the manager is this one's own, and nobody uses it after this.
        unsafe { (self.api.free)(self.api.manager) }
    }
}
