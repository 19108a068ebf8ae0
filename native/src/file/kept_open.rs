//! The stream of a file that stays open.

use std::sync::OnceLock;

use stillkey_core::CtrStream;

/// Where a file counts as long, in bytes: one pass over so much, a page at a time, repays what is computed in advance.
const LONG: u64 = 256 << 10;

/// A stream at position 0 that prepares for its file ([`CtrStream::kept_open`]) as soon as the file proves to be long. What is prepared takes
/// several times the locked memory of the key itself, which a short file doesn't repay.
#[derive(Debug)]
pub(crate) struct KeptOpen {
    stream: CtrStream,
    prepared: OnceLock<CtrStream>,
}

impl KeptOpen {
    pub(crate) fn new(stream: CtrStream) -> Self {
        Self {
            stream,
            prepared: OnceLock::new(),
        }
    }

    /// The stream for bytes at byte `offset`, a place that the file has.
    pub(crate) fn at(&self, offset: u64) -> &CtrStream {
        if offset >= LONG {
            self.prepared
                .get_or_init(|| self.stream.clone().kept_open())
        } else {
            self.prepared.get().unwrap_or(&self.stream)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use inout::InOutBuf;
    use stillkey_core::Iv;
    use stillkey_core::cipher::CtrKernel;

    use super::*;

    /// Counts how often it is prepared.
    struct Counting(Arc<AtomicUsize>);

    impl CtrKernel for Counting {
        fn apply(&self, _: &Iv, _: u64, _: InOutBuf<'_, '_, u8>) {}

        fn prepared(&self, _: &Iv) -> Option<Arc<dyn CtrKernel>> {
            self.0.fetch_add(1, Ordering::Relaxed);
            None
        }
    }

    #[test]
    fn a_file_is_prepared_for_once_and_only_when_it_proves_to_be_long() {
        let prepared = Arc::new(AtomicUsize::new(0));
        let kernel = Arc::new(Counting(Arc::clone(&prepared)));
        let kept = KeptOpen::new(CtrStream::with_kernel(kernel, Iv::new([0; 16])));
        for (offset, expected) in [(0, 0), (LONG - 1, 0), (LONG, 1), (0, 1), (u64::MAX, 1)] {
            kept.at(offset).apply_at(offset, &mut []).unwrap();
            assert_eq!(prepared.load(Ordering::Relaxed), expected, "at {offset}");
        }
    }
}
