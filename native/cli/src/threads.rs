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

/// Length of buffers for a long file. Commands that share no work keep to what is good for one thread.
static BUFFER_LEN: OnceLock<usize> = OnceLock::new();

/// Bytes to move at a time, if there are so many.
pub(crate) fn buffer_len() -> usize {
    BUFFER_LEN.get().copied().unwrap_or_default()
}

impl ThreadsArgs {
    /// Starts the threads.
    pub(crate) fn start(&self) -> Outcome {
        self.start_pool()?;
        BUFFER_LEN.get_or_init(parallel::buffer_len);
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
