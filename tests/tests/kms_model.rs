//! The KMS's model against an oracle that is written from the specification's tables, over random
//! sequences of all operations, on all faces, with leaps of the clock.
//!
//! After each step, answers, refusals and audit records are compared; what a change leads to is
//! looked at through requests, and taken to bytes and back; a blob is opened. At the end of a
//! sequence, all blobs are.
//!
//! A sequence is a list of seeds, one for each step. One that fails is shortened as far as it
//! still fails, and shown with its seeds; `STILLKEY_KMS_MODEL=SEED,SEED,…` runs it again.
//! `STILLKEY_LONG=10` runs ten times as many.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use rayon::prelude::*;
use stillkey_core::kms::Operation;
use stillkey_tests::random::Seeded;

#[path = "kms_model/keeper.rs"]
mod keeper;
#[path = "kms_model/oracle.rs"]
mod oracle;
#[path = "kms_model/policies.rs"]
mod policies;
#[path = "kms_model/steps.rs"]
mod steps;
#[path = "kms_model/world.rs"]
mod world;

use world::{Seen, World};

const SEQUENCES: u64 = 20_000;
const STEPS: usize = 51;

/// Fewer are no proof.
const LEAST_STEPS: u64 = 1_000_000;

/// When so many sequences have failed, the others are left out.
const ENOUGH_VIOLATIONS: u64 = 3;

/// Runs a sequence as far as it goes right.
fn run(seeds: &[u64], tells: bool) -> (World, usize, Result<(), String>) {
    let mut world = World::new();
    world.story = tells.then(Vec::new);
    let mut done = 0;
    let ran = catch_unwind(AssertUnwindSafe(|| {
        for seed in seeds {
            world.step(*seed)?;
            done += 1;
        }
        world.finish()
    }));
    let ran = ran.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| text.to_string()));
        Err(format!("panic: {}", text.unwrap_or_default()))
    });
    (world, done, ran)
}

fn fails(seeds: &[u64]) -> bool {
    run(seeds, false).2.is_err()
}

/// As few of the steps as still fail.
fn shrunk(mut seeds: Vec<u64>) -> Vec<u64> {
    let mut chunk = seeds.len() / 2;
    while chunk > 0 {
        let before = seeds.len();
        let mut at = 0;
        while at < seeds.len() {
            let mut fewer = seeds.clone();
            fewer.drain(at..(at + chunk).min(seeds.len()));
            if fails(&fewer) {
                seeds = fewer;
            } else {
                at += chunk;
            }
        }
        // Without one step, another one may be needless that wasn't.
        if chunk > 1 || seeds.len() == before {
            chunk /= 2;
        }
    }
    seeds
}

fn show(seeds: &[u64]) {
    let (world, _, ran) = run(seeds, true);
    for line in world.story.unwrap_or_default() {
        println!("  {line}");
    }
    match ran {
        Ok(()) => println!("no violation"),
        Err(violation) => println!("violation: {violation}"),
    }
    let seeds: Vec<String> = seeds.iter().map(|seed| format!("{seed:x}")).collect();
    println!("STILLKEY_KMS_MODEL={}", seeds.join(","));
}

fn replayed() -> Option<Vec<u64>> {
    let text = std::env::var("STILLKEY_KMS_MODEL").ok()?;
    let seed = |seed| u64::from_str_radix(seed, 16);
    let seeds: Result<_, _> = text.split(',').map(seed).collect();
    Some(seeds.expect("STILLKEY_KMS_MODEL: hexadecimal numbers with commas between them"))
}

#[test]
fn the_model_answers_as_the_oracle_does() {
    if let Some(seeds) = replayed() {
        show(&seeds);
        panic!("this was a replay, and no test");
    }
    let base = rand_core::TryRng::try_next_u64(&mut stillkey_tests::random::SysRng).unwrap();
    let (steps, violations) = (AtomicU64::new(0), AtomicU64::new(0));
    let sequences = SEQUENCES * u64::from(stillkey_tests::long());
    let seen = (0..sequences)
        .into_par_iter()
        .fold(Seen::default, |mut seen, number| {
            if violations.load(Relaxed) >= ENOUGH_VIOLATIONS {
                return seen;
            }
            let mut random = Seeded(base.wrapping_add(number.wrapping_mul(0x2545_f491_4f6c_dd1d)));
            let seeds: Vec<u64> = (0..STEPS).map(|_| random.number()).collect();
            let (world, done, ran) = run(&seeds, false);
            steps.fetch_add(done as u64, Relaxed);
            seen.add(&world.seen);
            if ran.is_err() && violations.fetch_add(1, Relaxed) < ENOUGH_VIOLATIONS {
                show(&shrunk(seeds));
            }
            seen
        });
    let seen = seen.reduce(Seen::default, |mut all, seen| {
        all.add(&seen);
        all
    });
    if std::env::var_os("STILLKEY_KMS_MODEL_SEEN").is_some() {
        println!("{seen:#?}");
    }
    let (steps, violations) = (steps.into_inner(), violations.into_inner());
    let missing = if violations == 0 {
        missing(&seen)
    } else {
        Vec::new()
    };
    for what in &missing {
        println!("never happened: {what}");
    }
    println!("kms model: {steps} steps checked, {violations} violations");
    assert_eq!(violations, 0);
    assert!(steps >= LEAST_STEPS, "fewer than {LEAST_STEPS} steps");
    assert!(missing.is_empty(), "what never happened is not proven");
}

/// What has to come by, or the test proves less than it says.
fn missing(seen: &Seen) -> Vec<String> {
    let mut missing = Vec::new();
    let outcomes = |operation: Operation, face: Option<&str>, name: &str| -> u64 {
        let same = |what: &(Operation, &str, &str)| {
            what.0 == operation && what.2 == name && face.is_none_or(|face| face == what.1)
        };
        let counts = seen.outcomes.iter().filter(|(what, _)| same(what));
        counts.map(|(_, count)| count).sum()
    };
    for operation in Operation::ALL {
        for face in FACES {
            if outcomes(*operation, Some(face), "ok") == 0 {
                missing.push(format!("{operation} succeeds, face {face}"));
            }
        }
        for name in refusals(*operation) {
            if outcomes(*operation, None, name) == 0 {
                missing.push(format!("{operation} is refused with {name}"));
            }
        }
        for cell in cells(*operation) {
            if !seen.cells.contains_key(&cell) {
                missing.push(format!("{cell:?}"));
            }
        }
    }
    for event in [
        "RotateKey",
        "DeleteKey",
        "DeleteExpiredKeyMaterial",
        "failed",
    ] {
        if !seen.events.contains_key(event) {
            missing.push(format!("a tick with {event}"));
        }
    }
    missing
}

const FACES: [&str; 3] = ["Alibaba", "Aws", "Tencent"];

/// The cells of an operation's row, for generated and for imported keys.
fn cells(operation: Operation) -> Vec<oracle::Cell> {
    use Operation as Op;
    let of_no_key = [
        Op::CreateKey,
        Op::ListKeys,
        Op::GenerateRandom,
        Op::ListAliases,
        Op::DescribeRegions,
    ];
    let mut cells = Vec::new();
    for face in FACES.iter().filter(|_| !of_no_key.contains(&operation)) {
        for state in ["Enabled", "Disabled", "PendingDeletion", "PendingImport"] {
            cells.push((operation, *face, state, true));
            if state != "PendingImport" {
                cells.push((operation, *face, state, false));
            }
        }
    }
    cells
}

/// With what an operation is refused, on some face at least.
fn refusals(operation: Operation) -> Vec<&'static str> {
    use Operation as Op;
    const BY_STATE: [&str; 3] = ["Disabled", "PendingDeletion", "PendingImport"];
    const CANNOT: &str = "StateModifiedFailed";
    let about_key = ["NotAllowed", "KeyNotFound"];
    let by_id = ["NotAllowed", "KeyNotFound", "AliasUnsupported"];
    let managed = [
        "NotAllowed",
        "KeyNotFound",
        "AliasUnsupported",
        "ServiceKey",
    ];
    let (common, more): (&[&str], Vec<&str>) = match operation {
        Op::DescribeRegions => (&[], vec![]),
        Op::ListKeys | Op::ListAliases | Op::GenerateRandom => (&["NotAllowed"], vec![]),
        Op::CreateKey => (
            &["NotAllowed", "InvalidParameter"],
            vec!["ProtectionLevelUnavailable", "Unavailable"],
        ),
        Op::DescribeKey => (&about_key, vec!["AliasNotFound"]),
        Op::ListAliasesByKeyId | Op::ListKeyVersions | Op::ListResourceTags => (&by_id, vec![]),
        Op::DescribeKeyVersion => (&by_id, vec!["VersionNotFound"]),
        Op::UpdateKeyDescription | Op::TagResource | Op::SetDeletionProtection => {
            (&managed, vec!["InvalidParameter", "PendingDeletion"])
        }
        Op::UntagResource => (&managed, vec!["PendingDeletion"]),
        Op::EnableKey | Op::DisableKey => {
            (&managed, vec![CANNOT, "PendingDeletion", "PendingImport"])
        }
        Op::ScheduleKeyDeletion => {
            let more = [
                "InvalidParameter",
                CANNOT,
                "PendingDeletion",
                "DeletionProtected",
            ];
            (&managed, more.to_vec())
        }
        Op::CancelKeyDeletion => (&managed, vec![CANNOT, "NotPendingDeletion"]),
        Op::GetParametersForImport => (
            &managed,
            vec!["UnsupportedOrigin", "PendingDeletion", "Unavailable"],
        ),
        Op::ImportKeyMaterial => {
            let more = [
                "InvalidParameter",
                "UnsupportedOrigin",
                "PendingDeletion",
                CANNOT,
                "InvalidImportToken",
                "ExpiredImportToken",
                "InvalidKeyMaterial",
                "Unavailable",
            ];
            (&managed, more.to_vec())
        }
        Op::DeleteKeyMaterial => (&managed, vec!["UnsupportedOrigin"]),
        Op::CreateKeyVersion => {
            let more = [&BY_STATE[..], &["UnsupportedOrigin", "Unavailable"]];
            (&managed, more.concat())
        }
        Op::UpdateRotationPolicy => {
            let more = [&BY_STATE[..], &["UnsupportedOrigin", "InvalidParameter"]];
            (&managed, more.concat())
        }
        Op::Encrypt | Op::GenerateDataKey | Op::GenerateDataKeyWithoutPlaintext => {
            let more = [
                "InvalidParameter",
                "AliasNotFound",
                "ServiceKey",
                "DamagedMaterial",
                "Unavailable",
            ];
            (&about_key, [&BY_STATE[..], &more].concat())
        }
        Op::Decrypt | Op::ReEncrypt => {
            let more = [
                "InvalidParameter",
                "AliasUnsupported",
                "AliasNotFound",
                "ServiceKey",
                "InvalidBlob",
                "OtherKey",
                "VersionNotFound",
                "Undecryptable",
                "DamagedMaterial",
                "Unavailable",
            ];
            (&about_key, [&BY_STATE[..], &more].concat())
        }
        Op::CreateAlias => {
            let more = [
                "InvalidAlias",
                "ReservedAlias",
                "AliasExists",
                CANNOT,
                "PendingDeletion",
            ];
            (&managed, more.to_vec())
        }
        Op::UpdateAlias => {
            let more = [
                "InvalidAlias",
                "ReservedAlias",
                "AliasNotFound",
                "PendingDeletion",
            ];
            (&managed, more.to_vec())
        }
        Op::DeleteAlias => {
            let more = ["InvalidAlias", "ReservedAlias", "AliasNotFound"];
            (&["NotAllowed"], more.to_vec())
        }
    };
    [common, &more].concat()
}
