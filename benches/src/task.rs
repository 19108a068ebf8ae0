//! What there is to measure. A task has contenders by name, and a row of the table or a bar picks among them.

use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Instant;

use stillkey::{Native, SysRng};
use stillkey_core::cipher::{Aead, AeadKey, CipherProvider};
use stillkey_core::sealed::{Options, Sealer, open};
use stillkey_core::{Cipher, CtrStream, EncryptionContext, Iv, MasterKey, Portable, RawMasterKey, SecretBytes};

use crate::ctr::{CtrWork, Start, data_key};
use crate::machine;
use crate::measure::{Contender, Pages};
use crate::peers::Peer;
