//! Power failures, alone and after errors and kills, in whatever anybody does with a directory: in whatever state that leaves, the
//! directory must open by itself, with every file that was acknowledged whole, none under a wrong key, and none that was deleted.
//!
//! `STILLKEY_CRASH_STATES`: how many states to check in all; the gate asks for 1,000,000. `STILLKEY_LONG` multiplies it. `STILLKEY_CRASH_ONLY`: a
//! part of a script's description, as violations show it, to run it and those like it alone. Keys and initialization vectors are random,
//! so a seed leads to the same state but for these.

mod expected;
mod product;
mod world;

use std::path::Path;

use crate::testing::from_environment;
use product::Product;
use world::Operation::{self, *};

/// How many tests share the states.
const TESTS: usize = 9;

const GROUPS: [(&str, &[Operation]); TESTS - 1] = [
    (
        "making files",
        &[
            Create,
            CreateOver,
            CreateOverOtherName,
            WriteInPlace,
            Import,
        ],
    ),
    (
        "replacing files",
        &[WriteNew, Overwrite, OverwriteOtherName],
    ),
    ("encrypting files anew", &[Rekey, RekeyOtherName, RekeyAll]),
    (
        "names",
        &[
            Rename,
            RenameOtherName,
            RenameAcross,
            Link,
            LinkOtherName,
            Delete,
            DeleteOtherName,
        ],
    ),
    (
        "directories",
        &[
            MakeDirectory,
            DeleteDirectory,
            MoveDirectory,
            MoveDirectoryAcross,
            Reconcile,
            Repair,
        ],
    ),
    (
        "keys",
        &[
            RotateDataKey,
            RotateMasterKey,
            RotateMasterKeyWithRetired,
            ImportKey,
            Retire,
            Restore,
            Forget,
            RetireAfterBulk,
        ],
    ),
    ("the log", &[Bulk, CompactWhenDue, Compact, Convert]),
    (
        "starts",
        &[FirstStart, FallBack, FallBackFromPlaintext, Reopen],
    ),
];

fn check(title: &str, seed: u64, run: impl FnOnce(&mut Product)) {
    // In memory where there is such a file system: what would be lost on a disk is this test's own doing.
    let scratch = match tempfile::tempdir_in(Path::new("/dev/shm")) {
        Ok(scratch) => scratch,
        Err(_) => tempfile::tempdir().unwrap(),
    };
    let factor = from_environment("STILLKEY_LONG").unwrap_or(1);
    let states = from_environment("STILLKEY_CRASH_STATES").unwrap_or(20_000);
    let share = (states * factor).div_ceil(TESTS);
    let mut product = Product::new(scratch.path(), share, seed);
    run(&mut product);
    let report = product.report();
    report.print(title);
    assert_eq!(report.violations, 0);
    assert!(report.states >= share || std::env::var("STILLKEY_CRASH_ONLY").is_ok());
}

fn check_group(group: usize) {
    let (title, operations) = GROUPS[group];
    check(title, group as u64 * 1_000_000, |product| {
        product.run(operations);
        // What some scripts have fewer states for.
        product.run_sequences(&all_operations(), operations);
    });
}

fn all_operations() -> Vec<Operation> {
    let groups = GROUPS.iter().flat_map(|(_, operations)| *operations);
    groups.copied().collect()
}

#[test]
fn no_power_failure_loses_a_file_that_is_made() {
    check_group(0);
}

#[test]
fn no_power_failure_loses_a_file_that_is_replaced() {
    check_group(1);
}

#[test]
fn no_power_failure_loses_a_file_that_is_encrypted_again() {
    check_group(2);
}

#[test]
fn no_power_failure_loses_a_file_that_is_renamed_linked_or_beside_one_that_is_deleted() {
    check_group(3);
}

#[test]
fn no_power_failure_loses_a_file_in_a_directory_that_is_moved_or_deleted() {
    check_group(4);
}

#[test]
fn no_power_failure_loses_a_key() {
    check_group(5);
}

#[test]
fn no_power_failure_loses_an_entry() {
    check_group(6);
}

#[test]
fn no_power_failure_keeps_a_directory_from_starting() {
    check_group(7);
}

#[test]
fn no_power_failure_loses_a_file_in_a_sequence_of_operations() {
    let operations = all_operations();
    check("sequences", 77, |product| {
        product.run_sequences(&operations, &operations);
    });
}
