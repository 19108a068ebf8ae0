//! A file system that can be filled to its last byte.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

/// 256 KiB of tmpfs, mounted until this is dropped.
#[derive(Debug)]
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts it on an empty directory.
    ///
    /// # Panics
    /// Without root's rights: a test that needs it must not pass without it.
    pub fn mount(on: impl Into<PathBuf>) -> Self {
        let on = on.into();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=256k", "tmpfs"])
            .arg(&on)
            .output()
            .expect("run mount");
        assert!(
            mounted.status.success(),
            "to mount a small file system takes root: {}",
            String::from_utf8_lossy(&mounted.stderr)
        );
        Self(on)
    }

    /// Its root.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Fills all that is free with a file of this name.
    ///
    /// # Panics
    /// If the file can't be made, or writing it fails for another reason.
    pub fn fill(&self, name: &str) {
        let mut file = File::create(self.0.join(name)).expect("a file that fills the disk");
        // Blocks first, since a write that doesn't fit is cut down to what does.
        let refused = loop {
            if let Err(error) = file.write_all(&[0; 512]) {
                break error;
            }
        };
        assert_eq!(refused.kind(), ErrorKind::StorageFull, "{refused}");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}
