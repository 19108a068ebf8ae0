//! Files that many threads use at once, under schedules that a test chooses. Whatever the schedule,
//! what was done and seen can have happened one after the other; no acknowledged byte is lost, in a
//! power failure neither; and every entry has its key.
//!
//! `STILLKEY_SCHEDULES`: how many schedules at random, and as many of PCT.

mod history;
mod world;
mod writers;

use shuttle::rand::RngCore;

use history::Act::{self, *};
use history::Name;
use world::Scene;

#[test]
fn files_that_are_encrypted_again_lose_no_write_and_mislead_no_reader() {
    Scene::new(&[("a", 1)], &[], &["a", "b"]).explore(
        1000,
        &[
            &[Rekey("a"), Open("b"), Read],
            &[Rekey("a"), Rekey("b")],
            &[OpenToWrite("a"), Write(2), Close, Open("a"), Read],
            &[ReadElsewhere("a"), Link("a", "b"), ReadElsewhere("a")],
        ],
    );
}

/// A file has a lock for each of its names, and its writers must be seen whatever name they use.
#[test]
fn a_link_that_is_encrypted_again_loses_no_write_to_the_other() {
    Scene::new(&[("a", 1)], &[], &["a", "b"])
        .after(&[Link("a", "b")])
        .explore(
            1000,
            &[
                &[Rekey("b"), Open("b"), Read],
                &[OpenToWrite("a"), Write(2), Close, Open("b"), Read],
            ],
        );
}

#[test]
fn files_that_are_replaced_while_they_move_are_the_old_ones_or_the_new_ones() {
    Scene::new(&[("a", 1)], &[], &["a", "b"]).explore(
        1000,
        &[
            &[Overwrite("a", 2), Open("b"), Read],
            &[Rename("a", "b"), Rekey("b")],
            &[OpenToWrite("a"), Write(3), Close, ReadElsewhere("a")],
            &[Open("a"), Read, Rename("b", "a"), Compact],
        ],
    );
}

#[test]
fn keys_that_are_retired_while_files_come_and_go_are_no_file_s() {
    let names = &["a", "b", "c", "d", "e", "f"];
    Scene::new(&[("a", 1), ("b", 2)], &[], names).explore(
        800,
        &[
            &[RotateDataKey, Retire, RotateDataKey, Retire],
            &[Create("c"), Write(3), Close, Delete("a")],
            &[Link("b", "d"), Delete("b"), Import("e")],
            &[Overwrite("f", 4), Rename("a", "b"), Restore],
        ],
    );
}

#[test]
fn files_of_one_directory_that_come_move_and_go_end_where_they_were_put() {
    let names = &["d/a", "d/b", "g/a", "g/b"];
    let scene = Scene::new(&[("d/a", 1), ("d/b", 2)], &["d"], names);
    scene.explore_each(1000, || (0..3).map(|_| at_random()).collect());
}

/// What a thread does in a directory.
fn at_random() -> Vec<Act> {
    let mut random = shuttle::rand::thread_rng();
    let mut one_of = move |names: &[Name]| {
        let number = random.next_u64() % names.len() as u64;
        names[usize::try_from(number).unwrap()]
    };
    let mut act = |number: u8| {
        let (one, other) = (one_of(&["d/a", "d/b"]), one_of(&["d/a", "d/b", "g/a"]));
        let what = [
            "make", "make", "make new", "move", "move", "link", "delete", "read", "all",
        ];
        match one_of(&what) {
            "make" => vec![Create(one), Write(10 + number), Close],
            "make new" => vec![CreateNew(one), Write(20 + number), Close],
            "move" => vec![Rename(one, other)],
            "link" => vec![Link(one, other)],
            "delete" => vec![Delete(one)],
            "read" => vec![Open(one), Read],
            _ if one == "d/a" => vec![MoveDirectory("d", "g"), Delete("g/b")],
            _ => vec![DeleteDirectory("d")],
        }
    };
    [act(0), act(1)].concat()
}
