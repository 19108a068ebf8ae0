//! `--offset` and `--length`: a part of the plaintext.

use std::io::{Read, Seek, SeekFrom, Take};
use std::path::Path;

use crate::failure::{Outcome, io};
use crate::ui::Ui;

/// Options for commands that can give out a part.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct RangeArgs {
    /// First byte of the plaintext to give out
    #[arg(long, value_name = "BYTES")]
    offset: Option<u64>,
    /// Number of bytes to give out; fewer where the file ends
    #[arg(long, value_name = "BYTES")]
    length: Option<u64>,
}

impl RangeArgs {
    /// Whether a part was asked for.
    pub(crate) fn is_part(&self) -> bool {
        self.offset.is_some() || self.length.is_some()
    }

    /// The asked-for part of `reader`, which reads the file at `path`.
    pub(crate) fn of<R: Read + Seek>(
        &self,
        mut reader: R,
        path: &Path,
        ui: &Ui,
    ) -> Outcome<Take<R>> {
        let offset = self.offset.unwrap_or_default();
        if offset > 0 {
            let end = reader.seek(SeekFrom::End(0)).map_err(io(path, "seek in"))?;
            if offset > end {
                // As positional reads have it, nothing is there, and that is no failure.
                ui.warn(&format!(
                    "{}: --offset {offset} lies behind the end of the plaintext at byte {end}, so there is nothing to give out; give a smaller one",
                    path.display()
                ));
            }
            reader
                .seek(SeekFrom::Start(offset.min(end)))
                .map_err(io(path, "seek in"))?;
        }
        Ok(reader.take(self.length.unwrap_or(u64::MAX)))
    }
}
