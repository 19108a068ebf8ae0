//! Timing that survives a noisy machine: all contenders take turns in short slices over the same memory, processor time is what counts,
//! each keeps its best slice, and only ratios of one run are worth quoting.

use std::fmt;
use std::hint::black_box;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// One implementation with one operation to repeat.
pub struct Contender {
    name: String,
    run: Box<Run>,
}

/// Repeats the operation on the data that often, and says how long that took.
type Run = dyn FnMut(&mut [u8], u64) -> Duration;

impl Contender {
    /// `operation` gets the same data again and again.
    pub fn new(name: impl Into<String>, mut operation: impl FnMut(&mut [u8]) + 'static) -> Self {
        // The loop is compiled together with the operation, so that 64 bytes don't pay for a virtual call of ours.
        Self::timing_itself(name, move |data, times| {
            let start = own_time();
            for _ in 0..times {
                operation(black_box(data));
            }
            own_time().saturating_sub(start)
        })
    }

    /// `run` repeats its operation the given number of times and returns the time for all of them: for what runs on several threads.
    pub fn timing_itself(
        name: impl Into<String>,
        run: impl FnMut(&mut [u8], u64) -> Duration + 'static,
    ) -> Self {
        Self {
            name: name.into(),
            run: Box::new(run),
        }
    }

    /// `operation` again and again, by the clock on the wall, for what waits for the disk: a disk that others use as well stalls now and then,
    /// for longer than all other operations take together, so the median counts.
    pub fn by_median(name: impl Into<String>, mut operation: impl FnMut() + 'static) -> Self {
        Self::timing_itself(name, move |_, times| {
            let mut each: Vec<Duration> = (0..times)
                .map(|_| {
                    let start = Instant::now();
                    operation();
                    start.elapsed()
                })
                .collect();
            each.sort_unstable();
            let median = each.get(each.len() / 2).copied().unwrap_or_default();
            median.saturating_mul(u32::try_from(times).unwrap_or(u32::MAX))
        })
    }

    /// Whose it is.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs the operation `times` times.
    pub fn run(&mut self, data: &mut [u8], times: u64) -> Duration {
        (self.run)(data, times)
    }

    /// How many operations fill `slice`, by doubling. Warms caches up on the way.
    fn times_for(&mut self, data: &mut [u8], slice: Duration) -> u64 {
        let mut times = 1;
        loop {
            let elapsed = self.run(data, times);
            if elapsed * 4 >= slice || times >= 1 << 40 {
                let each = elapsed.as_secs_f64() / times as f64;
                let fitting = slice.as_secs_f64() / each.max(1e-12);
                #[expect(clippy::cast_possible_truncation, reason = "far below 2^63")]
                return (fitting as u64).max(1);
            }
            times *= 2;
        }
    }
}

impl fmt::Debug for Contender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Contender").field(&self.name).finish()
    }
}

/// The processor time of this thread: what the machine does for other programs in between doesn't count.
pub(crate) fn own_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.try_into().unwrap_or_default()
}

/// How much time goes into one measurement.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// How often every contender gets its turn.
    pub rounds: u32,
    /// How long one turn lasts.
    pub slice: Duration,
}

impl Effort {
    /// For figures that are quoted. A slice is short, so that some fall between what else disturbs.
    pub const FULL: Self = Self {
        rounds: 40,
        slice: Duration::from_millis(5),
    };
    /// For a look within a minute.
    pub const QUICK: Self = Self {
        rounds: 10,
        slice: Duration::from_millis(2),
    };

    /// Slices of four times the length.
    #[must_use]
    pub fn longer(self) -> Self {
        Self {
            slice: self.slice * 4,
            ..self
        }
    }

    /// Twice the rounds.
    #[must_use]
    pub fn more(self) -> Self {
        Self {
            rounds: self.rounds * 2,
            ..self
        }
    }
}

/// Nobody is left with fewer rounds than this, however long an operation takes.
const MIN_ROUNDS: u32 = 3;

/// The time of one operation of each contender in nanoseconds, in the order of `contenders`: its best round.
pub fn interleaved(contenders: &mut [Contender], data: &mut [u8], effort: Effort) -> Vec<f64> {
    let times: Vec<u64> = contenders
        .iter_mut()
        .map(|contender| contender.times_for(data, effort.slice))
        .collect();
    let enough = effort.slice * effort.rounds * 2;
    let mut spent = vec![Duration::ZERO; contenders.len()];
    let mut best = vec![f64::INFINITY; contenders.len()];
    for round in 0..effort.rounds {
        for (i, contender) in contenders.iter_mut().enumerate() {
            // Where one operation fills many slices, more rounds would only take long.
            if round >= MIN_ROUNDS && spent[i] > enough {
                continue;
            }
            // A short run first brings the data back from where the others have left it.
            contender.run(data, times[i] / 8);
            let elapsed = contender.run(data, times[i]);
            spent[i] += elapsed;
            best[i] = best[i].min(elapsed.as_secs_f64() * 1e9 / times[i] as f64);
        }
    }
    best
}

/// Memory that begins with a page, as a storage engine's buffers do.
#[derive(Debug)]
pub struct Pages {
    memory: Vec<u8>,
    start: usize,
    len: usize,
}

impl Pages {
    /// `len` bytes, written once so that they exist.
    pub fn new(len: usize) -> Self {
        const PAGE: usize = 4096;
        let memory = vec![0x5a; len + PAGE];
        let start = memory.as_ptr().align_offset(PAGE).min(PAGE);
        Self { memory, start, len }
    }

    /// The bytes.
    pub fn bytes(&mut self) -> &mut [u8] {
        self.memory
            .get_mut(self.start..)
            .and_then(|bytes| bytes.get_mut(..self.len))
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_contender_gets_a_turn_in_every_round_and_keeps_its_best() {
        let mut turns = 0;
        let mut slow = Contender::timing_itself("slow", |_, times| {
            Duration::from_micros(100) * u32::try_from(times).unwrap()
        });
        let fast = Contender::timing_itself("fast", move |_, times| {
            turns += 1;
            // One turn to count, then two per round: to warm up and to be timed.
            let each = if turns == 5 { 10 } else { 20 };
            Duration::from_micros(each) * u32::try_from(times).unwrap()
        });
        assert_eq!(
            slow.times_for(&mut [], Duration::from_micros(1050)),
            10,
            "a slice is filled"
        );
        let effort = Effort {
            rounds: 3,
            slice: Duration::from_micros(50),
        };
        let best = interleaved(&mut [slow, fast], &mut [], effort);
        assert!((best[0] - 100_000.0).abs() < 1.0, "{best:?}");
        assert!((best[1] - 10_000.0).abs() < 1.0, "{best:?}");
    }

    #[test]
    fn pages_begin_with_a_page() {
        let mut pages = Pages::new(100);
        assert_eq!(pages.bytes().len(), 100);
        assert_eq!(pages.bytes().as_ptr().addr() % 4096, 0);
    }
}
