//! The bars: what Stillkey claims about its speed, each as a ratio of one run.

use std::fmt;

use stillkey::Native;
use stillkey::cpu::{Feature, Features};
use stillkey_core::{Cipher, CipherProvider};

use crate::ctr::{LIMIT, Start, kept_open_by, ours_by};
use crate::managed::{
    APPEND, CIPHER_ALONE, CREATE_ALONE, CREATE_TOGETHER, LOOK_UP, LOOK_UP_AMONG_MANY,
    LOOK_UP_BESIDE_SYNC, OPEN, OPEN_MEMORY, OPEN_QUARTERS, READ_ENCRYPTED, READ_PLAIN,
};
use crate::peers::{AWS_LC, LIBGCRYPT, OPENSSL, PEERS, Peer, RUSTCRYPTO};
use crate::task::{
    COPIED, IN_PLACE, LOG_ENCRYPTED, LOG_IN_PLAINTEXT, ONE_THREAD, SEALED, TWO_THREADS, Task, Times,
};
use crate::text::size;

/// One claim.
#[derive(Clone, Debug)]
pub struct Bar {
    /// What is measured, by what.
    pub what: String,
    /// In which task both are.
    pub task: Task,
    ours: Ours,
    against: Against,
    /// What the ratio has to reach.
    pub bound: Bound,
    /// What it is meant to reach.
    pub goal: Option<Bound>,
    /// Without these features of the processor, nothing is claimed.
    needs: &'static [Feature],
}

#[derive(Clone, Copy, Debug)]
enum Ours {
    /// The kernel that this machine gets.
    Picked(Cipher),
    /// The same for a file that is kept open.
    KeptOpen(Cipher),
    /// This kernel, whether it would be picked or not.
    Kernel(&'static str),
    /// The contender of that name.
    Named(&'static str),
}

#[derive(Clone, Copy, Debug)]
enum Against {
    /// The fastest of all peers, and all have to be here.
    BestPeer,
    Peer(&'static str),
    /// The peer in a version that begins like this.
    Release(&'static str, &'static str),
    /// The contender of that name, ours or the limit.
    Named(&'static str),
    /// These contenders one after the other.
    Sum(&'static [&'static str]),
    /// So many nanoseconds, or bytes: what was measured elsewhere on such a machine, or what a user may expect.
    Figure(f64),
    /// The contender's time and as many nanoseconds more, or the second figure where that is more.
    AtLeast(&'static str, f64, f64),
}

/// A bar or a goal.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bound {
    /// Our speed is at least so many times the other's.
    Speed(f64),
    /// Our time is at most so much of the other's.
    Time(f64),
}

/// How a claim stands. Only what was measured is ever passed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The ratio reaches the bar.
    Passed,
    /// It doesn't.
    Missed,
    /// The claim isn't about this machine, and why.
    NotApplicable(String),
    /// Nothing is known, and why.
    NotMeasured(String),
}

/// What noise does to a time that is the same.
const NO_SLOWER: f64 = 1.1;

const KI: usize = 1024;
const MI: usize = 1024 * KI;

#[cfg(target_arch = "aarch64")]
const AES: &[Feature] = &[Feature::ArmAes];
#[cfg(not(target_arch = "aarch64"))]
const AES: &[Feature] = &[Feature::AesNi];
const VAES_512: &[Feature] = &[Feature::Vaes512];
const GFNI_512: &[Feature] = &[Feature::Gfni512];

/// All of them.
pub fn bars() -> Vec<Bar> {
    use Against::{BestPeer, Named, Peer, Release};
    use Bound::{Speed, Time};
    use Cipher::{Aes128, Aes192, Aes256, Sm4};

    let mut bars = Vec::new();
    let mut claim = |needs, what: String, task, ours, against, bound, goal: Option<Bound>| {
        bars.push(Bar {
            what,
            task,
            ours,
            against,
            bound,
            goal,
            needs,
        });
    };

    for cipher in [Aes128, Aes192, Aes256] {
        let name = cipher.method().name();
        let picked = Ours::Picked(cipher);
        for len in [4 * KI, 16 * KI, 64 * KI, MI] {
            let cached = if cipher == Aes128 { 1.18 } else { 1.10 };
            let goal = (len >= 16 * KI).then_some(Speed(cached));
            let what = format!("{name}, {} ÷ best peer", size(len));
            claim(
                AES,
                what,
                Task::InPlace { cipher, len },
                picked,
                BestPeer,
                Speed(1.0),
                goal,
            );
        }
        let task = Task::InPlace {
            cipher,
            len: 16 * KI,
        };
        let what = format!("{name}, 16 KiB ÷ its rounds in registers alone");
        claim(
            VAES_512,
            what,
            task,
            picked,
            Named(LIMIT),
            Speed(0.95),
            Some(Speed(1.08)),
        );
        if cipher != Aes128 {
            let what = format!("{name}, 16 KiB ÷ OpenSSL");
            claim(
                VAES_512,
                what,
                task,
                picked,
                Peer(OPENSSL),
                Speed(2.1),
                Some(Speed(2.35)),
            );
            let task = Task::KeptOpen {
                cipher,
                len: 4 * KI,
            };
            let what = format!("{name}, 4 KiB of a file kept open ÷ best peer");
            let ours = Ours::KeptOpen(cipher);
            claim(
                AES,
                what,
                task,
                ours,
                BestPeer,
                Speed(1.0),
                Some(Speed(1.04)),
            );
        }
        for (start, unit) in [(Start::Block, "block"), (Start::Byte, "byte")] {
            let what = format!("{name}, 64 B at a random {unit}: time ÷ best peer's time");
            let task = Task::Seek { cipher, start };
            claim(
                AES,
                what,
                task,
                picked,
                BestPeer,
                Time(0.8),
                Some(Time(0.5)),
            );
        }
    }

    let picked = Ours::Picked(Sm4);
    let sm4 = |len| Task::InPlace { cipher: Sm4, len };
    let debian = Release(LIBGCRYPT, "1.10");
    for len in [4 * KI, 16 * KI, MI] {
        let what = format!("sm4-ctr with GFNI on 512 bits, {} ÷ OpenSSL", size(len));
        claim(
            GFNI_512,
            what,
            sm4(len),
            picked,
            Peer(OPENSSL),
            Speed(40.0),
            Some(Speed(50.0)),
        );
    }
    for len in [KI, 4 * KI, 16 * KI, MI] {
        let (bar, goal) = if len == KI { (5.5, 6.5) } else { (6.5, 8.0) };
        let what = format!(
            "sm4-ctr with GFNI on 512 bits, {} ÷ libgcrypt 1.10",
            size(len)
        );
        claim(
            GFNI_512,
            what,
            sm4(len),
            picked,
            debian,
            Speed(bar),
            Some(Speed(goal)),
        );
    }
    let task = Task::BothCiphers { len: 16 * KI };
    let (ours, aes) = (
        Ours::Named(Sm4.method().name()),
        Named(Aes256.method().name()),
    );
    let what = "sm4-ctr, 16 KiB ÷ our aes256-ctr".to_owned();
    claim(
        GFNI_512,
        what,
        task,
        ours,
        aes,
        Speed(0.27),
        Some(Speed(0.34)),
    );

    let lesser = Ours::Kernel("sm4-avx2");
    let what = "sm4-ctr with AES-NI and AVX2 (forced), 16 KiB ÷ ";
    let needs = &[Feature::AesNi, Feature::Avx2];
    let task = sm4(16 * KI);
    claim(
        needs,
        format!("{what}libgcrypt 1.10"),
        task,
        lesser,
        debian,
        Speed(1.3),
        None,
    );
    claim(
        needs,
        format!("{what}OpenSSL"),
        task,
        lesser,
        Peer(OPENSSL),
        Speed(8.0),
        None,
    );

    let portable = Ours::Kernel("portable");
    let what = "sm4-ctr portable (forced), 16 KiB ÷ crate sm4".to_owned();
    claim(
        &[],
        what,
        task,
        portable,
        Peer(RUSTCRYPTO),
        Speed(1.0),
        Some(Speed(2.0)),
    );
    for cipher in [Aes128, Aes192, Aes256] {
        let name = cipher.method().name();
        let what = format!("{name} portable without AES instructions, 16 KiB ÷ crate aes");
        let task = Task::SoftAes {
            cipher,
            len: 16 * KI,
        };
        claim(
            &[],
            what,
            task,
            portable,
            Peer(RUSTCRYPTO),
            Speed(1.3),
            Some(Speed(1.5)),
        );
    }

    let what = "aes256-ctr, 16 MiB, two pinned threads ÷ one".to_owned();
    let task = Task::Threads {
        cipher: Aes256,
        len: 16 * MI,
    };
    let ours = Ours::Named(TWO_THREADS);
    claim(&[], what, task, ours, Named(ONE_THREAD), Speed(1.8), None);
    let what = "aes256-ctr, 1 MiB, source to destination ÷ in place".to_owned();
    let task = Task::Copy {
        cipher: Aes256,
        len: MI,
    };
    claim(
        &[],
        what,
        task,
        Ours::Named(COPIED),
        Named(IN_PLACE),
        Speed(0.85),
        None,
    );
    let what = "sealed object, body in chunks of aes256-gcm, 1 MiB ÷ AWS-LC raw".to_owned();
    let task = Task::SealedBody { len: MI };
    claim(
        &[],
        what,
        task,
        Ours::Named(SEALED),
        Peer(AWS_LC),
        Speed(0.9),
        None,
    );
    // An entry of the size that logs have; the table shows larger ones, too. A build without the engine claims nothing about it.
    let logs = [(Aes256, AES, 0.95, 0.98), (Sm4, GFNI_512, 0.90, 0.95)];
    for (cipher, needs, bar, goal) in logs.into_iter().filter(|_| cfg!(feature = "raft-engine")) {
        let (name, len) = (cipher.method().name(), 4 * KI);
        let what = format!(
            "raft-engine, {name}, appending {}, synced ÷ in plaintext",
            size(len)
        );
        let task = Task::Append {
            cipher,
            len,
            synced: true,
        };
        let plaintext = Named(LOG_IN_PLAINTEXT);
        claim(
            needs,
            what,
            task,
            Ours::Named(LOG_ENCRYPTED),
            plaintext,
            Speed(bar),
            Some(Speed(goal)),
        );
    }
    bars.extend(managed());
    bars
}

/// Those of the key manager.
fn managed() -> Vec<Bar> {
    use Bound::{Speed, Time};
    let bar = |needs, what: &str, task, ours, against, bound, goal| Bar {
        what: what.to_owned(),
        task,
        ours: Ours::Named(ours),
        against,
        bound,
        goal,
        needs,
    };
    let read = |needs, cipher: Cipher, len, what: &str, against, bound| {
        let what = format!("{} file, {what}", cipher.method().name());
        let task = Task::Read { cipher, len };
        bar(needs, &what, task, READ_ENCRYPTED, against, bound, None)
    };
    let parts = Against::Sum(&[READ_PLAIN, CIPHER_ALONE]);
    let seek = "seek and 4 KiB: time ÷ the larger of";
    let bulk = "1 MiB ÷ plain read and cipher, one after the other";
    vec![
        bar(
            &[],
            "durable creates, 16 threads ÷ one",
            Task::Create,
            CREATE_TOGETHER,
            Against::Named(CREATE_ALONE),
            Speed(6.0),
            Some(Speed(10.0)),
        ),
        bar(
            &[],
            "durable creates, one thread ÷ append and sync",
            Task::Create,
            CREATE_ALONE,
            Against::Named(APPEND),
            Speed(0.9),
            Some(Speed(1.0)),
        ),
        bar(
            VAES_512,
            "look-up of an entry: time ÷ 87 ns",
            Task::LookUp,
            LOOK_UP,
            Against::Figure(87.0),
            Time(1.0),
            Some(Time(40.0 / 87.0)),
        ),
        bar(
            &[],
            "look-up while another thread syncs: time ÷ alone",
            Task::LookUp,
            LOOK_UP_BESIDE_SYNC,
            Against::Named(LOOK_UP),
            Time(NO_SLOWER),
            None,
        ),
        bar(
            &[],
            "look-up while 16 threads look up: time ÷ alone",
            Task::LookUp,
            LOOK_UP_AMONG_MANY,
            Against::Named(LOOK_UP),
            Time(NO_SLOWER),
            None,
        ),
        read(
            VAES_512,
            Cipher::Aes256,
            4 * KI,
            &format!("{seek} 1.5 µs and plain + 0.4 µs"),
            Against::AtLeast(READ_PLAIN, 400.0, 1500.0),
            Time(1.0),
        ),
        read(
            GFNI_512,
            Cipher::Sm4,
            4 * KI,
            &format!("{seek} 2.5 µs and plain + 1.2 µs"),
            Against::AtLeast(READ_PLAIN, 1200.0, 2500.0),
            Time(1.0),
        ),
        read(VAES_512, Cipher::Aes256, MI, bulk, parts, Speed(0.85)),
        read(GFNI_512, Cipher::Sm4, MI, bulk, parts, Speed(0.85)),
        bar(
            VAES_512,
            "opening 1,000,000 entries: time ÷ 1 s",
            Task::Open,
            OPEN,
            Against::Figure(1e9),
            Time(1.0),
            Some(Time(0.5)),
        ),
        bar(
            &[],
            "opening 1,000,000 entries: time ÷ four times 250,000",
            Task::Open,
            OPEN,
            Against::Named(OPEN_QUARTERS),
            Time(1.5),
            None,
        ),
        bar(
            &[],
            "opening 1,000,000 entries: peak of memory ÷ 200 MB",
            Task::Open,
            OPEN_MEMORY,
            Against::Figure(200e6),
            Time(1.0),
            Some(Time(0.6)),
        ),
    ]
}

impl Bar {
    /// Why it claims nothing for a processor with `features`, if so: then its task need not be measured.
    pub fn lacks(&self, features: Features) -> Option<Verdict> {
        let lacking = self.needs.iter().find(|need| !features.has(**need))?;
        Some(Verdict::NotApplicable(format!("processor lacks {lacking}")))
    }

    /// Whether its ratio depends on the contender `name`.
    pub fn is_about(&self, name: &str) -> bool {
        let against = match self.against {
            Against::BestPeer => PEERS.contains(&name),
            Against::Peer(peer) | Against::Release(peer, _) => peer == name,
            Against::Named(other) | Against::AtLeast(other, ..) => other == name,
            Against::Sum(others) => others.contains(&name),
            Against::Figure(_) => false,
        };
        against || self.ours.name() == name
    }

    /// Its ratio and how it stands, by the times of its task.
    pub fn judge(
        &self,
        features: Features,
        peers: &[Peer],
        times: &Result<Times, String>,
    ) -> (Option<f64>, Verdict) {
        if let Some(verdict) = self.lacks(features) {
            return (None, verdict);
        }
        match self.ratio(peers, times) {
            Ok(ratio) if self.bound.is_reached_by(ratio) => (Some(ratio), Verdict::Passed),
            Ok(ratio) => (Some(ratio), Verdict::Missed),
            Err(why) => (None, Verdict::NotMeasured(why)),
        }
    }

    fn ratio(&self, peers: &[Peer], times: &Result<Times, String>) -> Result<f64, String> {
        let here = |peer: &Peer| match &peer.version {
            Ok(version) => Ok(version.clone()),
            Err(why) => Err(format!("{}: {why}", peer.name)),
        };
        let peer = |name| {
            let mut named = peers.iter().filter(|peer| peer.name == name);
            let peer = named.next().ok_or(format!("{name}: not known here"))?;
            here(peer)
        };
        let time = |name: &str| {
            let times = times.as_ref().map_err(String::clone)?;
            times.of(name).ok_or(format!("{name}: not in this build"))
        };

        let theirs = match self.against {
            Against::BestPeer => {
                let names = peers.iter().map(|peer| here(peer).map(|_| peer.name));
                let all: Result<Vec<_>, _> = names.map(|name| time(name?)).collect();
                let best = all?.into_iter().reduce(f64::min);
                best.ok_or("no peer is known here".to_owned())?
            }
            Against::Peer(name) => {
                peer(name)?;
                time(name)?
            }
            Against::Release(name, release) => {
                let version = peer(name)?;
                if !version.starts_with(release) {
                    return Err(format!("{name} is {version}, the claim is about {release}"));
                }
                time(name)?
            }
            Against::Named(name) => time(name)?,
            Against::Sum(names) => names
                .iter()
                .try_fold(0.0, |sum, name| Ok::<_, String>(sum + time(name)?))?,
            Against::Figure(figure) => figure,
            Against::AtLeast(name, more, least) => (time(name)? + more).max(least),
        };
        let ours = time(&self.ours.name())?;
        Ok(match self.bound {
            Bound::Speed(_) => theirs / ours,
            Bound::Time(_) => ours / theirs,
        })
    }
}

impl Ours {
    /// The contender's.
    fn name(self) -> String {
        let native = Native::detect();
        match self {
            Self::Picked(cipher) => ours_by(native.name(cipher)),
            Self::KeptOpen(cipher) => kept_open_by(native.name(cipher)),
            Self::Kernel(name) => ours_by(name),
            Self::Named(name) => name.to_owned(),
        }
    }
}

impl Bound {
    /// Whether a ratio that misses it does so by less than half: noise can do that much, and not more.
    pub fn is_near(self, ratio: f64) -> bool {
        match self {
            Self::Speed(bar) => ratio > bar / 2.0,
            Self::Time(bar) => ratio < bar * 2.0,
        }
    }

    /// To two decimals: more than that, no measurement is good for.
    pub fn is_reached_by(self, ratio: f64) -> bool {
        let ratio = (ratio * 100.0).round() / 100.0;
        match self {
            Self::Speed(bar) => ratio >= bar,
            Self::Time(bar) => ratio <= bar,
        }
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Speed(bar) => write!(f, "≥ {bar:.2}"),
            Self::Time(bar) => write!(f, "≤ {bar:.2}"),
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Passed => f.write_str("passed"),
            Self::Missed => f.write_str("MISSED"),
            Self::NotApplicable(why) => write!(f, "not applicable ({why})"),
            Self::NotMeasured(why) => write!(f, "not measured ({why})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: [(&str, Result<&str, &str>); 2] =
        [(OPENSSL, Ok("OpenSSL 3.0")), (LIBGCRYPT, Ok("1.10.1"))];

    fn judged(
        against: Against,
        peers: &[(&'static str, Result<&str, &str>)],
        bound: Bound,
    ) -> Verdict {
        let bar = Bar {
            what: "a claim".to_owned(),
            task: Task::BothCiphers { len: 1 },
            ours: Ours::Named("ours"),
            against,
            bound,
            goal: None,
            needs: &[],
        };
        let peers: Vec<_> = peers
            .iter()
            .map(|(name, version)| Peer::without_ciphers(name, *version))
            .collect();
        let times = [("ours", 100.0), (OPENSSL, 210.0), (LIBGCRYPT, 120.0)];
        let times = Times(times.map(|(name, time)| (name.to_owned(), time)).into());
        bar.judge(Features::none(), &peers, &Ok(times)).1
    }

    #[test]
    fn a_ratio_reaches_its_bar_or_misses_it() {
        let openssl = Against::Peer(OPENSSL);
        assert_eq!(judged(openssl, &HERE, Bound::Speed(2.1)), Verdict::Passed);
        assert_eq!(judged(openssl, &HERE, Bound::Speed(2.11)), Verdict::Missed);
        assert_eq!(judged(openssl, &HERE, Bound::Time(0.48)), Verdict::Passed);
        assert_eq!(judged(openssl, &HERE, Bound::Time(0.47)), Verdict::Missed);
        assert_eq!(
            judged(Against::BestPeer, &HERE, Bound::Speed(1.2)),
            Verdict::Passed
        );
        assert_eq!(
            judged(Against::BestPeer, &HERE, Bound::Speed(1.21)),
            Verdict::Missed
        );
    }

    #[test]
    fn a_time_is_held_against_a_sum_a_figure_or_an_allowance() {
        let both = Against::Sum(&[OPENSSL, LIBGCRYPT]);
        assert_eq!(judged(both, &[], Bound::Speed(3.3)), Verdict::Passed);
        assert_eq!(judged(both, &[], Bound::Speed(3.31)), Verdict::Missed);
        let half = Bound::Time(0.5);
        assert_eq!(judged(Against::Figure(200.0), &[], half), Verdict::Passed);
        assert_eq!(judged(Against::Figure(196.0), &[], half), Verdict::Missed);
        // 80 ns more than 120, or 190 where that is more.
        let allowance = Against::AtLeast(LIBGCRYPT, 80.0, 190.0);
        assert_eq!(judged(allowance, &[], half), Verdict::Passed);
        let allowance = Against::AtLeast(LIBGCRYPT, 0.0, 190.0);
        assert_eq!(judged(allowance, &[], half), Verdict::Missed);
        assert_eq!(judged(allowance, &[], Bound::Time(0.53)), Verdict::Passed);
    }

    #[test]
    fn what_is_not_here_is_never_passed() {
        let absent = [HERE[0], (LIBGCRYPT, Err("not installed"))];
        let newer = [HERE[0], (LIBGCRYPT, Ok("1.11.0"))];
        let low = Bound::Speed(0.01);
        let release = Against::Release(LIBGCRYPT, "1.10");
        assert_eq!(judged(release, &HERE, low), Verdict::Passed);
        for (against, peers) in [
            (Against::BestPeer, &absent[..]),
            (Against::BestPeer, &[]),
            (Against::Peer(LIBGCRYPT), &absent),
            (Against::Peer("unheard of"), &HERE),
            (release, &newer),
            (Against::Named("nobody"), &HERE),
            (Against::Sum(&[OPENSSL, "nobody"]), &HERE),
            (Against::AtLeast("nobody", 1.0, 1.0), &HERE),
        ] {
            let verdict = judged(against, peers, low);
            assert!(
                matches!(verdict, Verdict::NotMeasured(_)),
                "{against:?}: {verdict}"
            );
        }
    }

    #[test]
    fn a_claim_about_other_processors_is_not_applicable() {
        let claims = bars();
        let gfni = claims.iter().filter(|bar| bar.needs == GFNI_512);
        for bar in gfni {
            let (ratio, verdict) = bar.judge(Features::none(), &[], &Ok(Times::default()));
            assert_eq!(ratio, None);
            let why = "processor lacks gfni512".to_owned();
            assert_eq!(verdict, Verdict::NotApplicable(why), "{}", bar.what);
        }
    }

    #[test]
    fn no_two_bars_have_one_name_and_a_goal_lies_behind_its_bar() {
        let bars = bars();
        let names: std::collections::HashSet<_> = bars.iter().map(|bar| &bar.what).collect();
        assert_eq!(names.len(), bars.len());
        for bar in &bars {
            match (bar.bound, bar.goal) {
                (_, None) => {}
                (Bound::Speed(bar), Some(Bound::Speed(goal))) => assert!(goal > bar),
                (Bound::Time(bar), Some(Bound::Time(goal))) => assert!(goal < bar),
                _ => panic!("{}: bar and goal are of two kinds", bar.what),
            }
        }
    }
}
