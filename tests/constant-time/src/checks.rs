//! What is run under which tool, and what has to come of it.

use std::collections::{BTreeSet, HashSet};
use std::fmt::{self, Write as _};
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::thread;

use iced_x86::InstructionInfoFactory;
use stillkey::cpu::Features;
use stillkey::kernel::Kernel;
use stillkey_constant_time::tracker::{
    Functions, Observed, can_escape, is_jump_table, text, watch,
};

/// Arguments of `subject` that leak on purpose.
const PLANTED: [&str; 3] = ["leak table", "leak branch", "leak vector"];

/// What valgrind says when it has something to report.
const REPORTED: i32 = 9;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Tool {
    Valgrind,
    Tracker,
}

impl fmt::Display for Tool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Valgrind => "valgrind",
            Self::Tracker => "tracker",
        })
    }
}

/// One run of `subject`.
struct Check {
    tool: Tool,
    arguments: String,
}

/// What came of it.
struct Outcome {
    leaks: bool,
    /// For a person.
    detail: String,
    ran: HashSet<u64>,
}

/// Runs everything and prints a line for each.
pub(crate) fn run() -> io::Result<()> {
    if cfg!(debug_assertions) {
        return Err(io::Error::other(
            "this is not a release build, and only what ships has to be constant-time",
        ));
    }
    let bench = Bench::new()?;
    let checks = bench.checks()?;
    let outcomes = bench.run_all(&checks)?;

    let mut failed = 0;
    for (check, outcome) in checks.iter().zip(&outcomes) {
        let arguments = check.arguments.as_str();
        let has_to_leak = PLANTED.contains(&arguments);
        let verdict = match (outcome.leaks, has_to_leak) {
            (false, false) => "ok",
            (true, true) => "ok, found",
            (true, false) => "LEAKS",
            (false, true) => "NOT FOUND",
        };
        println!(
            "{:<9} {arguments:<32} {verdict:<10} {}",
            check.tool, outcome.detail
        );
        failed += usize::from(outcome.leaks != has_to_leak);
    }
    let ran = outcomes
        .into_iter()
        .flat_map(|outcome| outcome.ran)
        .collect();
    let escapes = bench.unseen(&ran)?;
    if failed + escapes > 0 {
        let all = checks.len();
        return Err(io::Error::other(format!(
            "{failed} of {all} checks, {escapes} instructions"
        )));
    }
    println!("{} checks passed", checks.len());
    Ok(())
}

struct Bench {
    subject: PathBuf,
    functions: Functions,
}

impl Bench {
    fn new() -> io::Result<Self> {
        let subject = std::env::current_exe()?.with_file_name("subject");
        let functions = Functions::read(&subject).map_err(|error| {
            io::Error::other(format!(
                "{}: {error}; build this package first",
                subject.display()
            ))
        })?;
        Ok(Self { subject, functions })
    }

    /// The kernels and their ciphers that `list` prints.
    fn list(&self, mut command: Command) -> io::Result<Vec<String>> {
        let output = command.arg("list").output()?;
        if !output.status.success() {
            return Err(io::Error::other(format!(
                "{command:?}: {}",
                String::from_utf8_lossy(&output.stderr)
            )));
        }
        Ok(String::from_utf8_lossy(&output.stdout)
            .lines()
            .map(str::to_owned)
            .collect())
    }

    /// Every kernel that runs here under the tracker, all that run under valgrind under it too, what stands beside the kernels, and what was planted.
    fn checks(&self) -> io::Result<Vec<Check>> {
        let here = self.list(Command::new(&self.subject))?;
        let under_valgrind = self.list(self.valgrind())?;
        let names: BTreeSet<&str> = here
            .iter()
            .filter_map(|kernel| kernel.split(' ').next())
            .collect();
        let expected = std::env::var("STILLKEY_EXPECT_KERNELS").unwrap_or_default();
        if let Some(missing) = expected
            .split(',')
            .find(|name| !name.is_empty() && !names.contains(name))
        {
            return Err(io::Error::other(format!(
                "STILLKEY_EXPECT_KERNELS names {missing}, which doesn't run here; these do: {names:?}"
            )));
        }
        let check = |tool, arguments: &str| Check {
            tool,
            arguments: arguments.to_owned(),
        };
        let mut checks = Vec::new();
        for planted in PLANTED {
            checks.extend([
                check(Tool::Valgrind, planted),
                check(Tool::Tracker, planted),
            ]);
        }
        for kernel in &here {
            // Without instructions of its own, the portable one has nothing that valgrind doesn't know, and by far the most to run.
            if !kernel.starts_with("portable") {
                checks.push(check(Tool::Tracker, &format!("kernel {kernel}")));
            }
            if under_valgrind.contains(kernel) {
                checks.push(check(Tool::Valgrind, &format!("kernel {kernel}")));
            }
        }
        for beside in ["seal aes256-gcm", "seal sm4-gcm", "compare"] {
            checks.extend([check(Tool::Valgrind, beside), check(Tool::Tracker, beside)]);
        }
        Ok(checks)
    }

    fn valgrind(&self) -> Command {
        let mut command = Command::new("valgrind");
        command
            .arg("-q")
            .arg(format!("--error-exitcode={REPORTED}"))
            .arg(&self.subject);
        command
    }

    /// As many at a time as there are processors.
    fn run_all(&self, checks: &[Check]) -> io::Result<Vec<Outcome>> {
        let queue = Mutex::new(checks.iter().enumerate());
        let outcomes = Mutex::new(Vec::new());
        let work = || {
            while let Some((index, check)) = { queue.lock().expect("no check panics").next() } {
                let outcome = (index, self.run_one(check));
                outcomes.lock().expect("no check panics").push(outcome);
            }
        };
        let workers = thread::available_parallelism()?.get();
        thread::scope(|scope| (0..workers).for_each(|_| drop(scope.spawn(work))));
        let mut outcomes = outcomes.into_inner().expect("no check panics");
        outcomes.sort_by_key(|(index, _)| *index);
        outcomes.into_iter().map(|(_, outcome)| outcome).collect()
    }

    fn run_one(&self, check: &Check) -> io::Result<Outcome> {
        let arguments = check.arguments.split(' ');
        match check.tool {
            Tool::Valgrind => self.under_valgrind(arguments),
            Tool::Tracker => {
                let mut command = Command::new(&self.subject);
                command.args(arguments);
                let observed = watch(command).map_err(|error| {
                    io::Error::other(format!(
                        "{}: {error}; is tracing forbidden here?",
                        check.arguments
                    ))
                })?;
                self.as_observed(observed)
            }
        }
    }

    fn under_valgrind<'a>(&self, arguments: impl Iterator<Item = &'a str>) -> io::Result<Outcome> {
        let mut command = self.valgrind();
        command
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = command.spawn()?;
        child.stdin.take().expect("it is piped").write_all(b"\n")?;
        let output = child.wait_with_output()?;
        let report = String::from_utf8_lossy(&output.stderr);
        match output.status.code() {
            Some(0) => Ok(Outcome {
                leaks: false,
                detail: "0 reports".to_owned(),
                ran: HashSet::new(),
            }),
            Some(REPORTED) => {
                let first: Vec<_> = report.lines().take(2).map(str::trim).collect();
                Ok(Outcome {
                    leaks: true,
                    detail: first.join(" "),
                    ran: HashSet::new(),
                })
            }
            _ => Err(io::Error::other(format!(
                "{command:?}: {}: {report}",
                output.status
            ))),
        }
    }

    fn as_observed(&self, observed: Observed) -> io::Result<Outcome> {
        if observed.status != 0 || observed.marked == 0 {
            let (status, marked) = (observed.status, observed.marked);
            return Err(io::Error::other(format!(
                "subject: status {status}, {marked} bytes marked"
            )));
        }
        let mut detail = format!(
            "{} instructions, {} secret bytes",
            observed.steps, observed.marked
        );
        if let Some((at, (leak, instruction))) = observed.leaks.first_key_value() {
            let place = self.functions.place(*at);
            let _ = write!(
                detail,
                "; in {} places: {leak}: {place}: {}",
                observed.leaks.len(),
                text(instruction)
            );
        }
        Ok(Outcome {
            leaks: !observed.leaks.is_empty(),
            detail,
            ran: observed.ran,
        })
    }

    /// Prints how much of the kernels' code has run under the tracker, and returns how many of the other instructions could bring a
    /// secret out of the vectors. Functions that were never entered count as well, unless there are kernels that can't run here.
    fn unseen(&self, ran: &HashSet<u64>) -> io::Result<usize> {
        let (mut all, mut unrun, mut escapes) = (0, 0, 0);
        let mut factory = InstructionInfoFactory::new();
        let not_here = not_here();
        for function in self.functions.named("stillkey::kernel::x86_64") {
            let was_entered = ran.contains(&function.range.start);
            if !was_entered && !not_here.is_empty() {
                continue;
            }
            all += function.instructions.len();
            for (index, instruction) in function.not_run(ran) {
                unrun += 1;
                if can_escape(instruction, &mut factory)
                    && !is_jump_table(&function.instructions[index..], &mut factory)
                {
                    escapes += 1;
                    let (at, name) = (instruction.ip(), &function.name);
                    println!(
                        "not run, and can move a secret: {at:#x} in {name}: {}",
                        text(instruction)
                    );
                }
            }
        }
        if all == 0 {
            return Err(io::Error::other(
                "the program has no function of stillkey::kernel::x86_64",
            ));
        }
        println!(
            "{} of {all} instructions of kernels have run under the tracker; of the others, {escapes} could move a secret",
            all - unrun
        );
        for (name, needs) in not_here {
            println!("{name} was not checked: it needs {needs}");
        }
        Ok(escapes)
    }
}

/// The kernels that this processor can't run, and what it lacks.
fn not_here() -> Vec<(&'static str, String)> {
    let features = Features::detect();
    let lacking = |kernel: &Kernel| {
        let missing = kernel.needs().iter().filter(|need| !features.has(**need));
        let missing: Vec<_> = missing.map(|need| need.name()).collect();
        (!missing.is_empty()).then(|| (kernel.name(), missing.join(", ")))
    };
    Kernel::all().filter_map(lacking).collect()
}
