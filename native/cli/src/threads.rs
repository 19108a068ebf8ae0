//! How many threads share the work on a long file or a tree.

use std::sync::OnceLock;

use stillkey::parallel;

use crate::failure::Outcome;

#[derive(Debug, clap::Args)]
pub(crate) struct ThreadsArgs {
    /// Threads that share the work; 1 for none beside the first. Without it, RAYON_NUM_THREADS or as many as there are processors
    #[cfg(feature = "rayon")]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,
}

/// Length of buffers for a long file. Commands that don't take [`ThreadsArgs`] have one thread.
static BUFFER_LEN: OnceLock<usize> = OnceLock::new();

/// The length of buffers for a file of `len` bytes, if that is known and worth more than one thread.
pub(crate) fn buffer_len_for(len: Option<u64>) -> Option<usize> {
    let buffer_len = *BUFFER_LEN.get()?;
    (len? > 2 * buffer_len as u64).then_some(buffer_len)
}

impl ThreadsArgs {
    /// Starts the threads.
    pub(crate) fn start(&self) -> Outcome {
        self.start_pool()?;
        if parallel::threads() > 1 {
            BUFFER_LEN.get_or_init(parallel::buffer_len);
        }
        Ok(())
    }

    #[cfg(feature = "rayon")]
    fn start_pool(&self) -> Outcome {
        use rayon::ThreadPoolBuilder;

        let threads = self.threads.map_or(0, usize::from);
        let started = ThreadPoolBuilder::new().num_threads(threads).build_global();
        match (started, self.threads) {
            (Ok(()), _) => Ok(()),
            // Where the system allows no more threads, the one that runs can do it all.
            (Err(_), None) => {
                let alone = ThreadPoolBuilder::new().num_threads(1).use_current_thread();
                alone.build_global().map_err(|error| failed(&error))
            }
            (Err(error), Some(_)) => Err(failed(&error)),
        }
    }

    #[cfg(not(feature = "rayon"))]
    fn start_pool(&self) -> Outcome {
        Ok(())
    }
}

#[cfg(feature = "rayon")]
fn failed(error: &rayon::ThreadPoolBuildError) -> crate::failure::Failure {
    crate::failure::Failure::Said(
        stillkey::ErrorKind::Io,
        format!("cannot start threads: {error}; use a smaller --threads"),
    )
}
