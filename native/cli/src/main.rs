//! The stillkey command.

fn main() {}
