//! Reading a long file ahead, on a thread of its own.
//!
//! Reading and writing take the system longer than the cipher takes, so it is these two that have to go on at the same time.

use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Builder, scope};

use indicatif::ProgressBar;
use stillkey::Error;
use zeroize::Zeroizing;

use crate::body;
use crate::failure::{Outcome, io};
use crate::threads;

type Buffer = Zeroizing<Vec<u8>>;

/// How many pieces are under way: one is read while one is written.
const PIECES: usize = 2;

/// As [`body::copy`]. `len`: bytes in the regular file that is read from, or `None` for anything else, which could have its reader wait
/// forever while what was read has nowhere to go.
pub(crate) fn copy(
    len: Option<u64>,
    (reader, from): (&mut (impl Read + Send), &Path),
    (writer, to): (&mut impl Write, &Path),
    progress: &ProgressBar,
) -> Outcome<u64> {
    let Some(buffer_len) = threads::buffer_len_for(len) else {
        return body::copy((reader, from), (writer, to), progress);
    };
    scope(|scope| {
        let (give_back, empty) = sync_channel(PIECES);
        let (pass_on, full) = sync_channel(PIECES);
        Builder::new()
            .spawn_scoped(scope, move || read_all(reader, &empty, &pass_on))
            .map_err(io(from, "start a thread that reads"))?;
        for _ in 0..PIECES {
            let _ = give_back.send(Zeroizing::new(vec![0; buffer_len]));
        }
        let mut copied = 0;
        for piece in full {
            let (buffer, read) = piece.map_err(Error::carried(from, "read"))?;
            let bytes = buffer.get(..read).unwrap_or_default();
            writer.write_all(bytes).map_err(io(to, "write"))?;
            copied += read as u64;
            progress.inc(read as u64);
            // The reader may have ended, and needs no buffer then.
            let _ = give_back.send(buffer);
        }
        Ok(copied)
    })
}

/// Until the end, an error, or nobody takes the pieces any more.
fn read_all(
    reader: &mut impl Read,
    empty: &Receiver<Buffer>,
    pass_on: &SyncSender<io::Result<(Buffer, usize)>>,
) {
    for mut buffer in empty {
        let read = loop {
            match reader.read(&mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        let piece = match read {
            Ok(0) => return,
            Ok(read) => Ok((buffer, read)),
            Err(error) => Err(error),
        };
        let ended = piece.is_err();
        if pass_on.send(piece).is_err() || ended {
            return;
        }
    }
}
