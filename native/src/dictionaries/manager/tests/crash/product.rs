//! The product: every operation, in every setting, without a fault, with an error at its n-th step, or killed there; then it goes on, is
//! tried again, or the directory is opened again; and at any point of that the power fails, once or twice.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use stillkey_core::Method;

use super::super::NOW;
use super::expected::{Care, Expected, Fate};
use super::world::{Beginning, Between, Effect, Operation, Setting, World, content};
use crate::error::{Error, ErrorKind};
use crate::testing::Xorshift;
use crate::testing::disk::{Disk, Failure, State, record};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Continuation {
    /// Nothing more.
    End,
    /// Other things are done with the same manager.
    GoOn,
    /// The operation is tried again.
    Retry,
    /// The manager is dropped, and the directory opened again.
    Reopen,
    /// So, and then the operation is tried again.
    ReopenAndRetry,
}

/// How many states of a script are checked at least, before other scripts are left out.
const FEWEST_OF_A_SCRIPT: usize = 6;

/// How many states of a sequence are checked at most.
const STATES_OF_A_SEQUENCE: usize = 60;

/// More sequences than any number of states needs.
const MOST_SEQUENCES: usize = 500_000;

/// One history of a directory up to the power failure.
#[derive(Clone, Debug)]
struct Script<'o> {
    /// All but the last of which succeed.
    operations: &'o [Operation],
    setting: Setting,
    fault: Option<Failure>,
    then: Continuation,
}

impl std::fmt::Display for Script<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Setting {
            names,
            version,
            named_temporaries,
        } = self.setting;
        let temporaries = if named_temporaries {
            "named"
        } else {
            "unnamed"
        };
        write!(
            f,
            "{:?} {names:?} {version:?} {temporaries}",
            self.operations
        )?;
        match self.fault {
            None => write!(f, " without fault")?,
            Some(Failure::Error { at, errno }) => {
                let errno = Errno::from_raw_os_error(errno);
                write!(
                    f,
                    " error {} at {at}",
                    if errno == Errno::IO { "IO" } else { "NOSPC" }
                )?;
            }
            Some(Failure::Short { at, len }) => write!(f, " short by {len} at {at}")?,
            Some(Failure::Kill { at }) => write!(f, " killed at {at}")?,
        }
        write!(f, " {:?}", self.then)
    }
}

/// What a script has left: the record, and what may be found from which event on.
struct Played {
    disk: Disk,
    expected: Vec<(usize, Expected)>,
    /// Up to this event, it is another script's.
    new_from: usize,
    /// Of the last operation.
    counts: (usize, usize),
    /// Whether the fault came to be, if there was to be one.
    came_to_be: bool,
    operations: Vec<Operation>,
}

impl Played {
    /// What was done; `None` when the last operation or its fault didn't come to be.
    fn performed(&self, script: &Script<'_>) -> Option<String> {
        let is_complete = self.operations.last() == script.operations.last()
            && (script.fault.is_none() || self.came_to_be);
        let performed = Script {
            operations: &self.operations,
            ..script.clone()
        };
        is_complete.then(|| performed.to_string())
    }
}

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) states: usize,
    pub(super) scripts: usize,
    pub(super) violations: usize,
    /// The first of each kind, and how many there are.
    kinds: BTreeMap<String, (usize, String)>,
}

impl Report {
    fn violation(&mut self, kind: &str, operations: &[Operation], what: String) {
        self.violations += 1;
        // Without what is another each time.
        let kind: Vec<_> = kind
            .split_whitespace()
            .filter(|word| !word.contains("/.tmp") && !word.contains(|c: char| c.is_ascii_digit()))
            .collect();
        let kind = match operations {
            [operation] => format!("{operation:?}: {}", kind.join(" ")),
            _ => kind.join(" "),
        };
        self.kinds.entry(kind).or_insert((0, what)).0 += 1;
    }

    pub(super) fn print(&self, title: &str) {
        println!(
            "crash states: {} checked, {} violations ({title}, {} scripts)",
            self.states, self.violations, self.scripts
        );
        for (kind, (count, first)) in &self.kinds {
            println!("{count} × {kind}\n      first: {first}");
        }
    }
}

/// How many states to check, and of which scripts.
pub(super) struct Budget {
    left: usize,
    only: Option<String>,
}

pub(super) struct Product {
    root: PathBuf,
    budget: Budget,
    report: Report,
    seed: u64,
    /// What scripts came to.
    performed: HashSet<String>,
}

impl Product {
    pub(super) fn new(scratch: &Path, states: usize, seed: u64) -> Self {
        Self {
            root: scratch.join("directory"),
            budget: Budget {
                left: states,
                only: std::env::var("STILLKEY_CRASH_ONLY").ok(),
            },
            report: Report::default(),
            seed,
            performed: HashSet::new(),
        }
    }

    pub(super) fn report(self) -> Report {
        self.report
    }

    /// These operations, each alone.
    pub(super) fn run(&mut self, operations: &[Operation]) {
        let mut cases: Vec<_> = Setting::all()
            .flat_map(|setting| {
                operations
                    .iter()
                    .map(move |operation| (*operation, setting))
            })
            .collect();
        while let Some((operation, setting)) = cases.pop() {
            let states = self.budget.left / (cases.len() + 1);
            self.run_operation(operation, setting, states);
        }
    }

    fn run_operation(&mut self, operation: Operation, setting: Setting, states: usize) {
        let operations = [operation];
        let beginning = Beginning::of(operation, setting, &self.root);
        let script = |fault, then| Script {
            operations: &operations,
            setting,
            fault,
            then,
        };
        let mut scripts: Vec<_> = [Continuation::End, Continuation::GoOn, Continuation::Reopen]
            .map(|then| script(None, then))
            .into();
        let (steps, changes) = self
            .play(&script(None, Continuation::End), &beginning)
            .counts;
        // With whatever the fault itself brings about.
        for at in 0..steps {
            let errno = [Errno::IO, Errno::NOSPC][at % 2].raw_os_error();
            for then in [
                Continuation::GoOn,
                Continuation::Retry,
                Continuation::Reopen,
            ] {
                scripts.push(script(Some(Failure::Error { at, errno }), then));
            }
            let short = Some(Failure::Short { at, len: 7 * at });
            scripts
                .extend([Continuation::GoOn, Continuation::Reopen].map(|then| script(short, then)));
        }
        for at in 0..changes {
            let kill = Some(Failure::Kill { at });
            let then = [Continuation::Reopen, Continuation::ReopenAndRetry];
            scripts.extend(then.map(|then| script(kill, then)));
        }
        self.run_scripts(scripts, &beginning, states);
    }

    /// Random sequences of operations, until enough states were checked. The last one is one of `last`, with a random fault.
    pub(super) fn run_sequences(&mut self, operations: &[Operation], last: &[Operation]) {
        let mut random = Xorshift::new(self.seed);
        let mut beginnings: Vec<(Setting, Beginning)> = Vec::new();
        for setting in Setting::all() {
            let beginning = Beginning::of(Operation::Reopen, setting, &self.root);
            beginnings.push((setting, beginning));
        }
        for _ in 0..MOST_SEQUENCES {
            if self.budget.left == 0 {
                return;
            }
            let len = 1 + random.below(4);
            let mut sequence: Vec<_> = (0..len)
                .map(|_| operations[random.below(operations.len())])
                .collect();
            sequence.push(last[random.below(last.len())]);
            let (setting, beginning) = &beginnings[random.below(beginnings.len())];
            let at = random.below(30);
            let errno = Errno::IO.raw_os_error();
            let (fault, then) = match random.below(4) {
                0 => (None, Continuation::End),
                1 => (Some(Failure::Kill { at: at / 2 }), Continuation::Reopen),
                2 => (Some(Failure::Error { at, errno }), Continuation::GoOn),
                _ => (Some(Failure::Error { at, errno }), Continuation::Retry),
            };
            let script = Script {
                operations: &sequence,
                setting: *setting,
                fault,
                then,
            };
            let states = STATES_OF_A_SEQUENCE.min(self.budget.left);
            self.run_scripts(vec![script], beginning, states);
        }
    }

    fn run_scripts(&mut self, scripts: Vec<Script<'_>>, beginning: &Beginning, states: usize) {
        let mut scripts = scripts;
        if self.budget.only.is_none() && states < FEWEST_OF_A_SCRIPT * scripts.len() {
            // Some scripts with some states each, rather than all of them with hardly any.
            let mut random = Xorshift::new(self.seed);
            scripts.sort_by_cached_key(|_| random.next());
            scripts.truncate(states.div_ceil(FEWEST_OF_A_SCRIPT));
        }
        let mut left = states;
        let mut count = scripts.len();
        for script in scripts {
            let quota = left.div_ceil(count);
            count -= 1;
            self.seed += 1;
            let name = script.to_string();
            if self
                .budget
                .only
                .as_ref()
                .is_some_and(|only| !name.contains(only))
            {
                continue;
            }
            let played = self.play(&script, beginning);
            // Operations that weren't possible make no other script.
            let Some(performed) = played.performed(&script) else {
                continue;
            };
            if !self.performed.insert(performed) {
                continue;
            }
            self.report.scripts += 1;
            if self.budget.only.is_some() {
                println!("{name}\n{}", played.disk.describe());
            }
            let checked = self.let_the_power_fail(&script, &played, quota);
            left -= checked.min(left);
            self.budget.left -= checked.min(self.budget.left);
        }
    }

    fn clear(&self) {
        if self.root.exists() {
            fs::remove_dir_all(&self.root).unwrap();
        }
    }

    fn play(&mut self, script: &Script<'_>, beginning: &Beginning) -> Played {
        let mut world = World::new(&self.root, script.setting, beginning);
        let mut expected = vec![(0, Expected::of(&world.known))];
        let (last, first) = script.operations.split_last().unwrap();
        let mut operations = Vec::new();
        for operation in first {
            if world.is_possible(*operation) {
                operations.push(*operation);
                world.happen_before(*operation);
                let effect = world.intend(*operation);
                expected.push((
                    world.recording.len(),
                    Expected::during(&world.known, &effect),
                ));
                if let Err(error) = world.run(*operation) {
                    self.report.violation(
                        &error.to_string(),
                        &[*operation],
                        format!("{script}: {operation:?}: {error}"),
                    );
                    break;
                }
                world.known = effect.after;
                world.note_keys();
                expected.push((world.recording.len(), Expected::of(&world.known)));
            }
        }
        let is_last_possible = world.is_possible(*last);
        operations.extend(is_last_possible.then_some(*last));
        let mut played = Player {
            script,
            world: &mut world,
            expected,
            violations: Vec::new(),
        };
        let (new_from, counts, came_to_be) = match is_last_possible {
            true => played.play_last(*last),
            false => (0, (0, 0), false),
        };
        let Player {
            expected,
            violations,
            ..
        } = played;
        for violation in violations {
            self.report.violation(
                &violation,
                script.operations,
                format!("{script}: {violation}"),
            );
        }
        drop(world.manager);
        let disk = world.recording.stop();
        self.clear();
        Played {
            disk,
            expected,
            new_from,
            counts,
            came_to_be,
            operations,
        }
    }

    /// Checks so many states, unless there are fewer, and returns how many there were.
    fn let_the_power_fail(&mut self, script: &Script<'_>, played: &Played, quota: usize) -> usize {
        let mut random = Xorshift::new(self.seed);
        let mut seen = HashSet::new();
        let len = played.disk.len();
        let cuts = len + 1 - played.new_from.min(len);
        let mut checked = 0;
        // Where nothing is in doubt, every attempt gives the same.
        for attempt in 0..4 * quota + 2 * cuts {
            if checked >= quota {
                break;
            }
            // Every point once, then any.
            let cut = len
                - if attempt < cuts {
                    attempt
                } else {
                    random.below(cuts)
                };
            let bias = random.below(6);
            let doubtful = played.disk.doubtful_after(cut);
            let state = doubtful.survivor(&mut |of| choose(bias, of, &mut random));
            let (at, expected) = played
                .expected
                .iter()
                .rev()
                .find(|(at, _)| *at <= cut)
                .unwrap();
            if !seen.insert(hash(&(at, &state))) {
                continue;
            }
            checked += 1;
            let care = match random.below(8) {
                0 => Care::Thorough,
                1..4 => Care::GoOn,
                _ => Care::Look,
            };
            let where_ = format!("{script}, power fails after {cut} of {len}");
            // The second failure, while the first is recovered from.
            let second =
                (random.below(4) == 0).then(|| self.recover(&state, expected, script.setting));
            self.check(&state, expected, script, care, &where_);
            if let Some(second) = second {
                let cut = random.below(second.len() + 1);
                let bias = random.below(6);
                let doubtful = second.doubtful_after(cut);
                let state = doubtful.survivor(&mut |of| choose(bias, of, &mut random));
                if seen.insert(hash(&(at, &state))) {
                    checked += 1;
                    let where_ = format!(
                        "{where_}, again after {cut} of {} of the recovery",
                        second.len()
                    );
                    self.check(&state, expected, script, care, &where_);
                }
            }
        }
        checked
    }

    fn check(
        &mut self,
        state: &State,
        expected: &Expected,
        script: &Script<'_>,
        care: Care,
        place: &str,
    ) {
        fs::create_dir(&self.root).unwrap();
        state.materialise(&self.root);
        self.report.states += 1;
        if let Some(violation) = expected.violation(&self.root, script.setting, care) {
            let names: Vec<_> = state
                .0
                .keys()
                .map(|path| path.display().to_string())
                .collect();
            let what = format!(
                "{place} (seed {}): {violation}; there were {}",
                self.seed,
                names.join(" ")
            );
            self.report.violation(&violation, script.operations, what);
        }
        self.clear();
    }

    /// What opening does in such a state.
    fn recover(&mut self, state: &State, expected: &Expected, setting: Setting) -> Disk {
        fs::create_dir(&self.root).unwrap();
        state.materialise(&self.root);
        let recording = record(&self.root, state, setting.named_temporaries);
        drop(expected.open(&self.root, setting.names));
        let disk = recording.stop();
        self.clear();
        disk
    }
}

/// The end of a script, which is what it is about.
struct Player<'p> {
    script: &'p Script<'p>,
    world: &'p mut World,
    expected: Vec<(usize, Expected)>,
    violations: Vec<String>,
}

impl Player<'_> {
    fn play_last(&mut self, operation: Operation) -> (usize, (usize, usize), bool) {
        self.world.happen_before(operation);
        let effect = self.world.intend(operation);
        let during = Expected::during(&self.world.known, &effect);
        self.expect(during.clone());
        let fault = self.script.fault.unwrap_or(Failure::Error {
            at: usize::MAX,
            errno: 0,
        });
        self.world.recording.plan(fault);
        let done = self.world.run(operation);
        let counts = self.world.recording.counts();
        let came_to_be = self.world.recording.heal();
        let faulted_at = self.world.recording.failed_after();
        let mut now = self.settle(&done, &effect, &during);
        let end = self.world.recording.len();
        let new_from = match (self.script.fault, self.script.then) {
            (None, Continuation::End) => 0,
            (Some(_), Continuation::GoOn) => faulted_at,
            (Some(Failure::Kill { .. }), Continuation::Reopen) => faulted_at,
            _ => end + 1,
        };
        if !matches!(self.script.fault, Some(Failure::Kill { .. })) {
            self.check_now(&now);
        }
        match self.script.then {
            Continuation::End => {}
            Continuation::GoOn => self.go_on(&mut now),
            Continuation::Retry => {
                if done.is_err() {
                    now = self.retry(operation, &effect, &during);
                }
                self.go_on(&mut now);
            }
            Continuation::Reopen | Continuation::ReopenAndRetry => {
                if self.reopen(&now) {
                    if self.script.then == Continuation::ReopenAndRetry && done.is_err() {
                        now = self.retry(operation, &effect, &during);
                    }
                    self.go_on(&mut now);
                }
            }
        }
        (new_from, counts, came_to_be)
    }

    fn expect(&mut self, expected: Expected) {
        self.expected.push((self.world.recording.len(), expected));
    }

    /// What may be found after an operation that has succeeded or failed.
    fn settle(&mut self, done: &Result<(), Error>, effect: &Effect, during: &Expected) -> Expected {
        let now = match done {
            Ok(()) => {
                self.world.known = effect.after.clone();
                self.world.note_keys();
                Expected::of(&self.world.known)
            }
            Err(_) => during.clone(),
        };
        self.expect(now.clone());
        now
    }

    /// The same again, which may find that it is done already, or that it can't be any more.
    fn retry(&mut self, operation: Operation, effect: &Effect, during: &Expected) -> Expected {
        self.world.happen_before_retry(operation);
        self.expect(during.clone());
        let done = self.world.run(operation);
        if let Err(error) = &done
            && !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::AlreadyExists)
        {
            self.violations.push(format!("a retry fails: {error}"));
        }
        self.settle(&done, effect, during)
    }

    /// The files as they are without a restart.
    fn check_now(&mut self, now: &Expected) {
        if let Some(manager) = &self.world.manager
            && let Err(violation) = now.check(manager, &self.world.root, self.world.setting.names)
            && !violation.contains("stillkey-")
            && !violation.contains(".tmp")
        {
            self.violations
                .push(format!("without a restart, {violation}"));
        }
    }

    fn reopen(&mut self, now: &Expected) -> bool {
        self.world.manager = None;
        match now.open(&self.world.root, self.world.setting.names) {
            Ok((manager, number)) => {
                self.world.manager = Some(manager);
                self.world.known.master_key = number;
                true
            }
            Err(error) => {
                self.violations.push(format!("doesn't open again: {error}"));
                false
            }
        }
    }

    /// Other operations, which a failure must not stop.
    fn go_on(&mut self, now: &mut Expected) {
        if self.world.manager.is_none() {
            return;
        }
        for (number, name) in ["after", "later"].into_iter().enumerate() {
            let content = content(number);
            let making = vec![
                Fate::Between(Between::Absent),
                Fate::Between(Between::Making(content.clone())),
                Fate::Whole(content.clone()),
            ];
            now.and_file(name, making);
            self.expect(now.clone());
            if let Err(error) = self.world.create(name, &content) {
                self.violations
                    .push(format!("no new file after that: {error}"));
                return;
            }
            now.and_file(name, vec![Fate::Whole(content)]);
            self.expect(now.clone());
            let manager = self.world.manager.as_ref().unwrap();
            if let Err(error) = manager.entries().rotate_data_key(Method::Aes128Ctr, NOW) {
                self.violations
                    .push(format!("no new data key after that: {error}"));
                return;
            }
            now.and_keys(manager);
            self.expect(now.clone());
        }
    }
}

/// What survives: anything, most of it, little of it, all, or nothing.
fn choose(bias: usize, of: usize, random: &mut Xorshift) -> usize {
    match bias {
        0 => 0,
        1 => of - 1,
        2 if random.below(4) > 0 => 0,
        3 if random.below(4) > 0 => of - 1,
        _ => random.below(of),
    }
}

fn hash(what: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}
