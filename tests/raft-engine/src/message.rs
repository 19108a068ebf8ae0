//! Entries of a log, as the engine's interface wants them: protobuf messages that know their index.

use protobuf::descriptor::UninterpretedOption;
use raft_engine::MessageExt;

/// An entry. Of the messages that come with protobuf, this one has a number and bytes, so that none has to be generated.
pub type Entry = UninterpretedOption;

/// An entry with an index and content.
pub fn entry(index: u64, content: Vec<u8>) -> Entry {
    let mut entry = Entry::new();
    entry.set_positive_int_value(index);
    entry.set_string_value(content);
    entry
}

/// Tells the engine where an [`Entry`] has its index.
#[derive(Clone, Copy, Debug)]
pub struct Raft;

impl MessageExt for Raft {
    type Entry = Entry;

    fn index(entry: &Entry) -> u64 {
        entry.get_positive_int_value()
    }
}
