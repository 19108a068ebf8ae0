//! Holds this machine's ratios against the bars.

use std::io::{self, Write};

use stillkey::cpu::Features;

use crate::bars::{Bar, Verdict, bars};
use crate::measure::Effort;
use crate::task::{Bench, Task, Times};
use crate::text;

/// A bar that is missed, and not by far, is measured again so often, with twice the rounds. Each contender then keeps its best round of all
/// runs, the peers as well as ours: noise only ever makes times longer, so more rounds bring both nearer to the truth.
const MORE_RUNS: u32 = 5;

/// How all of the bars stand together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Every bar that is about this machine is reached.
    Passed,
    /// At least one is missed.
    Missed,
    /// None is missed, and at least one couldn't be measured.
    Incomplete,
}

/// Measures every bar whose name contains `part`, writes one line for each to `out`, and at the end names those that are missed.
///
/// # Errors
/// Those of `out`.
pub fn check(
    bench: &mut Bench,
    effort: Effort,
    part: &str,
    out: &mut impl Write,
) -> io::Result<Outcome> {
    let mut measured: Vec<(Task, Result<Times, String>)> = Vec::new();
    let features = Features::detect();
    let mut bars = bars();
    bars.retain(|bar| bar.what.contains(part));
    report(&bars, out, |bar| {
        if let Some(verdict) = bar.lacks(features) {
            return (None, verdict, 0);
        }
        let others = bars.iter().filter(|other| other.task == bar.task);
        let wanted = |name: &str| others.clone().any(|other| other.is_about(name));
        let known = measured.iter().position(|(task, _)| *task == bar.task);
        let at = known.unwrap_or_else(|| {
            measured.push((bar.task, bench.measure(bar.task, effort, wanted)));
            measured.len() - 1
        });
        let times = &mut measured[at].1;
        let mut runs = 1;
        loop {
            let (ratio, verdict) = bar.judge(features, &bench.peers, times);
            let close = ratio.is_some_and(|ratio| bar.bound.is_near(ratio));
            if verdict != Verdict::Missed || !close || runs > MORE_RUNS {
                return (ratio, verdict, runs);
            }
            let again = bench.measure(bar.task, effort.more(), wanted);
            if let (Ok(best), Ok(again)) = (&mut *times, again) {
                *best = std::mem::take(best).best_of(&again);
            }
            runs += 1;
        }
    })
}

/// Writes the table of `bars`, judged by `judge`: a ratio, a verdict, and how many runs that took.
fn report(
    bars: &[Bar],
    out: &mut impl Write,
    mut judge: impl FnMut(&Bar) -> (Option<f64>, Verdict, u32),
) -> io::Result<Outcome> {
    if bars.is_empty() {
        writeln!(out, "no bar has a name like that")?;
        return Ok(Outcome::Incomplete);
    }
    writeln!(out, "| what | measured | bar | goal | verdict |")?;
    writeln!(out, "|---|---|---|---|---|")?;
    let (mut missed, mut unknown) = (Vec::new(), Vec::new());
    for bar in bars {
        let (ratio, verdict, runs) = judge(bar);
        let measured = ratio.map_or("-".to_owned(), text::ratio);
        let runs = match runs {
            0 | 1 => String::new(),
            _ => format!(" (best of {runs} runs)"),
        };
        let goal = bar.goal.map_or("-".to_owned(), |goal| goal.to_string());
        let (what, bound) = (&bar.what, bar.bound);
        let beyond = match (ratio, bar.goal, &verdict) {
            (Some(ratio), Some(goal), Verdict::Passed) if goal.is_reached_by(ratio) => {
                ", goal reached"
            }
            _ => "",
        };
        writeln!(
            out,
            "| {what} | {measured}{runs} | {bound} | {goal} | {verdict}{beyond} |"
        )?;
        out.flush()?;
        match verdict {
            Verdict::Missed => missed.push(what),
            Verdict::NotMeasured(_) => unknown.push(what),
            Verdict::Passed | Verdict::NotApplicable(_) => {}
        }
    }

    let all = bars.len();
    for (names, how) in [(&missed, "missed"), (&unknown, "not measured")] {
        if !names.is_empty() {
            writeln!(out, "\n{} of {all} bars {how}:", names.len())?;
            for name in names {
                writeln!(out, "- {name}")?;
            }
        }
    }
    if !missed.is_empty() {
        return Ok(Outcome::Missed);
    }
    if !unknown.is_empty() {
        return Ok(Outcome::Incomplete);
    }
    writeln!(out, "\nall {all} bars passed, or not applicable here")?;
    Ok(Outcome::Passed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reported(verdict: &Verdict) -> (Outcome, String) {
        let bars = &bars()[..3];
        let (mut out, mut first) = (Vec::new(), true);
        let outcome = report(bars, &mut out, |_| match std::mem::take(&mut first) {
            true => (Some(0.5), verdict.clone(), 1),
            false => (Some(2.0), Verdict::Passed, 1),
        });
        (outcome.unwrap(), String::from_utf8(out).unwrap())
    }

    #[test]
    fn one_missed_bar_fails_the_check_and_is_named() {
        let (outcome, text) = reported(&Verdict::Missed);
        assert_eq!(outcome, Outcome::Missed);
        let name = &bars()[0].what;
        assert!(
            text.ends_with(&format!("\n1 of 3 bars missed:\n- {name}\n")),
            "{text}"
        );
    }

    #[test]
    fn one_bar_without_its_peer_makes_the_check_incomplete_and_is_named() {
        let (outcome, text) = reported(&Verdict::NotMeasured("no peer".to_owned()));
        assert_eq!(outcome, Outcome::Incomplete);
        let name = &bars()[0].what;
        assert!(
            text.ends_with(&format!("\n1 of 3 bars not measured:\n- {name}\n")),
            "{text}"
        );
    }

    #[test]
    fn bars_about_other_machines_do_not_fail_the_check() {
        let (outcome, text) = reported(&Verdict::NotApplicable("processor lacks x".to_owned()));
        assert_eq!(outcome, Outcome::Passed, "{text}");
    }
}
