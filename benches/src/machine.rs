//! Where a run took place: without it, a figure means nothing.

use std::fmt;
use std::sync::LazyLock;

use stillkey::cpu::{Feature, Features};

/// The machine and the moment of a run.
#[derive(Debug)]
pub struct Machine {
    /// As the system names the processor.
    pub processor: String,
    /// What Stillkey looks for in a processor.
    pub features: Features,
    /// How many processors this process may run on.
    pub cpus: usize,
    /// In UTC, by the second.
    pub date: String,
}

impl Machine {
    /// This machine, now.
    pub fn here() -> Self {
        Self {
            processor: processor(),
            features: Features::detect(),
            cpus: all_cpus().len(),
            date: jiff::Timestamp::now()
                .strftime("%Y-%m-%d %H:%M:%S UTC")
                .to_string(),
        }
    }

    /// The names of its features.
    pub fn feature_names(&self) -> Vec<&'static str> {
        let all = Feature::ALL.into_iter();
        let here = all.filter(|feature| self.features.has(*feature));
        here.map(Feature::name).collect()
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}, {} processors, {}; {}",
            self.processor,
            self.cpus,
            self.feature_names().join(" "),
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

/// The processors that this process may run on: those of its first asker, who has to ask before it pins itself. None where the system
/// doesn't say.
pub fn all_cpus() -> &'static [usize] {
    static ALL: LazyLock<Vec<usize>> = LazyLock::new(affinity::allowed);
    &ALL
}

/// Keeps this thread on one processor, where the system can do that: a thread that moves loses its caches.
pub fn pin(cpu: usize) {
    affinity::pin_to(&[cpu]);
}

/// Lets this thread, which may have been started by one that is pinned, run on every processor again.
pub fn pin_to_any() {
    affinity::pin_to(all_cpus());
}

/// Most memory that this process has had at once, in bytes, where the system tells.
pub fn peak_of_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = peak.split_whitespace().next()?.parse().ok()?;
    Some(kibibytes << 10)
}

#[cfg(target_os = "linux")]
mod affinity {
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

    pub(super) fn allowed() -> Vec<usize> {
        let allowed = sched_getaffinity(None).unwrap_or_default();
        let cpus = 0..CpuSet::MAX_CPU;
        cpus.filter(|cpu| allowed.is_set(*cpu)).collect()
    }

    pub(super) fn pin_to(cpus: &[usize]) {
        let mut only = CpuSet::new();
        for cpu in cpus {
            only.set(*cpu);
        }
        // A figure taken without pinning is noisier and not wrong.
        let _ = sched_setaffinity(None, &only);
    }
}

#[cfg(not(target_os = "linux"))]
mod affinity {
    pub(super) fn allowed() -> Vec<usize> {
        Vec::new()
    }

    pub(super) fn pin_to(_: &[usize]) {}
}
