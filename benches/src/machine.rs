//! Where a run took place: without it, a figure means nothing.

use std::fmt;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use stillkey::cpu::Features;

/// The machine and the moment of a run.
#[derive(Debug)]
pub struct Machine {
    /// As the system names the processor.
    pub processor: String,
    /// What Stillkey looks for in a processor.
    pub features: Features,
    /// The processors that this process may run on.
    pub cpus: Vec<usize>,
    /// In UTC, by the second.
    pub date: String,
}

impl Machine {
    /// This machine, now.
    pub fn here() -> Self {
        Self {
            processor: processor(),
            features: Features::detect(),
            cpus: cpus(),
            date: jiff::Timestamp::now()
                .strftime("%Y-%m-%d %H:%M:%S UTC")
                .to_string(),
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}, {} processors, {:?}, {}",
            self.processor,
            self.cpus.len(),
            self.features,
            self.date
        )
    }
}

fn processor() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    info.lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or(std::env::consts::ARCH, |(_, name)| name)
        .to_owned()
}

/// The processors that this thread may run on.
pub fn cpus() -> Vec<usize> {
    let allowed = sched_getaffinity(None).unwrap_or_default();
    (0..CpuSet::MAX_CPU)
        .filter(|cpu| allowed.is_set(*cpu))
        .collect()
}

/// Keeps this thread on one processor, where the system allows it: a thread that moves loses its caches.
pub fn pin(cpu: usize) {
    let mut only = CpuSet::new();
    only.set(cpu);
    // A figure taken without pinning is noisier and not wrong.
    let _ = sched_setaffinity(None, &only);
}
