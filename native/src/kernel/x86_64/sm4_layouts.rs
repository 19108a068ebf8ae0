//! SM4 over many blocks at once, on any [`Machine`].
//!
//! There are two ways to lay blocks out in registers. *By words*, a register holds one of the four words of the state, of four
//! blocks per 16 bytes: quickly begun, so best for few blocks. *By bytes*, it holds one of the sixteen bytes of the state, of
//! sixteen blocks per 16 bytes: the rotations of the linear layer turn into choices of registers and cost nothing. In both, the
//! state stays in the basis of [`sm4_field`](super::sm4_field) from the counter to the keystream.

use super::run::Run;
use super::sm4::{Keys, Machine, everywhere, mapped, words};

/// XORs the keystream over up to `SETS` times four blocks per 16 bytes of a register, laid out by words.
#[inline(always)]
pub(super) fn by_words<M: Machine, const SETS: usize>(machine: M, keys: &Keys, data: &mut Run<'_>) {
    let mut state = words_of_counters::<M, SETS>(machine, data.counter());
    let turns = [
        machine.of_bytes(&const { turned(1) }),
        machine.of_bytes(&const { turned(2) }),
        machine.of_bytes(&const { turned(3) }),
    ];
    for [first, second, third, fourth] in keys.by_words().as_chunks().0 {
        let [a, b, c, d] = &mut state;
        two_rounds_by_words(machine, turns, [a, b], [c, d], [*first, *second]);
        two_rounds_by_words(machine, turns, [c, d], [a, b], [*third, *fourth]);
    }
    let [a, b, c, d] = state;
    for (((a, b), c), d) in a.into_iter().zip(b).zip(c).zip(d) {
        // The standard's reversal of the words at the end.
        let mut words = [d, c, b, a];
        for word in &mut words {
            *word = machine.out_of_basis(*word);
        }
        for _ in 0..2 {
            let [a, b, c, d] = words;
            let ([a, b], [c, d]) = (
                machine.interleave_words(a, c),
                machine.interleave_words(b, d),
            );
            words = [a, b, c, d];
        }
        data.xor(machine, words);
    }
}

#[inline(always)]
fn words_of_counters<M: Machine, const SETS: usize>(
    machine: M,
    counter: u128,
) -> [[M::Vector; SETS]; 4] {
    let lanes = const { blocks_of_lanes::<M, 16>() }.map(u32::from);
    let set = 4 * u32::from(M::BLOCKS);
    let [first, second, third, fourth] = words(counter);
    let everywhere = |word: u32| [machine.into_basis(machine.splat(word.swap_bytes())); SETS];
    let (mut high, mut low) = (everywhere(third), everywhere(third));
    let mut from = fourth;
    for vector in &mut low {
        let words = lanes.map(|block| from.wrapping_add(block).swap_bytes());
        *vector = machine.into_basis(machine.of_words(&words));
        from = from.wrapping_add(set);
    }
    // The counter is public, so branches may depend on it.
    if u64::from(fourth) + SETS as u64 * u64::from(set) > 1 << 32 {
        let mut before_carry = fourth.wrapping_neg();
        for vector in &mut high {
            let words = lanes.map(|block| {
                third
                    .wrapping_add(u32::from(block >= before_carry))
                    .swap_bytes()
            });
            *vector = machine.into_basis(machine.of_words(&words));
            before_carry = before_carry.saturating_sub(set);
        }
    }
    [everywhere(first), everywhere(second), high, low]
}

/// Two rounds, since they share the sum of the words that neither changes.
#[inline(always)]
fn two_rounds_by_words<M: Machine, const SETS: usize>(
    machine: M,
    turns: [M::Vector; 3],
    changed: [&mut [M::Vector; SETS]; 2],
    kept: [&[M::Vector; SETS]; 2],
    keys: [u32; 2],
) {
    let ([a, b], [c, d], [key, next_key]) = (changed, kept, keys);
    let (key, next_key) = (machine.splat(key), machine.splat(next_key));
    for (((a, b), c), d) in a.iter_mut().zip(b).zip(c).zip(d) {
        let shared = machine.xor(*c, *d);
        *a = mixed_word(machine, turns, *a, machine.xor3(*b, shared, key));
        *b = mixed_word(machine, turns, *b, machine.xor3(*a, shared, next_key));
    }
}

#[inline(always)]
fn mixed_word<M: Machine>(
    machine: M,
    turns: [M::Vector; 3],
    word: M::Vector,
    sum: M::Vector,
) -> M::Vector {
    let ([by_one, by_two, by_three], [own, left]) = (turns, machine.own_and_left(sum));
    let near = machine.xor(machine.shuffle(left, by_one), machine.shuffle(left, by_two));
    let far = machine.shuffle(machine.xor(own, left), by_three);
    machine.xor3(machine.xor(word, own), near, far)
}

/// Each byte of a word moves `places` down, and round.
#[expect(
    clippy::indexing_slicing,
    reason = "below 64, and the compiler evaluates this"
)]
const fn turned(places: u8) -> [u8; 64] {
    let (mut order, mut at) = ([0; 64], 0);
    while at < 64 {
        order[at as usize] = (at & 0b1100) | ((at + places) & 0b0011);
        at += 1;
    }
    order
}

/// XORs the keystream over up to `SETS` times 16 blocks per 16 bytes of a register, laid out by bytes.
#[inline(always)]
pub(super) fn by_bytes<M: Machine, const SETS: usize>(machine: M, keys: &Keys, data: &mut Run<'_>) {
    let mut states: [_; SETS] = bytes_of_counters(machine, data.counter());
    for [first, second, third, fourth] in keys.by_bytes().as_chunks::<4>().0 {
        for [a, b, c, d] in &mut states {
            two_rounds_by_bytes(machine, [a, b], [c, d], [first, second]);
        }
        for [a, b, c, d] in &mut states {
            two_rounds_by_bytes(machine, [c, d], [a, b], [third, fourth]);
        }
    }
    for state in states {
        data.xor(machine, keystream_of_bytes(machine, state));
    }
}

/// The states before the first round, of `SETS` sets of blocks that follow each other.
#[inline(always)]
pub(super) fn bytes_of_counters<M: Machine, const SETS: usize>(
    machine: M,
    counter: u128,
) -> [[[M::Vector; 4]; 4]; SETS] {
    let lanes = const { blocks_of_lanes::<M, 64>() };
    let set = 16 * M::BLOCKS;
    let mut state = [[machine.splat(0); 4]; 4];
    let bytes = mapped(machine, words(counter));
    for (plane, byte) in state
        .as_flattened_mut()
        .iter_mut()
        .zip(bytes.as_flattened())
    {
        *plane = machine.splat(everywhere(*byte));
    }
    let mut states = [state; SETS];
    let [.., second, lowest] = counter.to_be_bytes();
    let (mut from, mut above) = (lowest, second);
    for [.., [.., plane_above, plane]] in &mut states {
        let bytes = lanes.map(|block| from.wrapping_add(block));
        *plane = machine.into_basis(machine.of_bytes(&bytes));
        let bytes =
            lanes.map(|block| above.wrapping_add(u8::from(from.checked_add(block).is_none())));
        *plane_above = machine.into_basis(machine.of_bytes(&bytes));
        let carry;
        (from, carry) = from.overflowing_add(set);
        above = above.wrapping_add(u8::from(carry));
    }
    // The counter is public, so branches may depend on it. It carries beyond two bytes once in 2^16 blocks.
    if second == u8::MAX && usize::from(lowest) + SETS * usize::from(set) > 256 {
        carry(machine, counter, &mut states);
    }
    states
}

/// Where the second lowest byte of the counter carries on the way through the blocks of `states`, the bytes above it differ.
#[inline(always)]
fn carry<M: Machine, const SETS: usize>(
    machine: M,
    counter: u128,
    states: &mut [[[M::Vector; 4]; 4]; SETS],
) {
    let lanes = const { blocks_of_lanes::<M, 64>() };
    let behind = counter.wrapping_add(256);
    let (bytes, behind) = (
        mapped(machine, words(counter)),
        mapped(machine, words(behind)),
    );
    let [.., lowest] = counter.to_be_bytes();
    let mut last_before_carry = i16::from(u8::MAX - lowest);
    for state in states {
        let both = bytes.as_flattened().iter().zip(behind.as_flattened());
        for (plane, (byte, behind)) in state.as_flattened_mut().iter_mut().zip(both).take(14) {
            let bytes = lanes.map(|block| {
                let carried = i16::from(block) > last_before_carry;
                if carried { *behind } else { *byte }
            });
            *plane = machine.of_bytes(&bytes);
        }
        last_before_carry -= i16::from(16 * M::BLOCKS);
    }
}

#[inline(always)]
fn two_rounds_by_bytes<M: Machine>(
    machine: M,
    changed: [&mut [M::Vector; 4]; 2],
    kept: [&[M::Vector; 4]; 2],
    keys: [&[u32; 4]; 2],
) {
    let ([a, b], [c, d]) = (changed, kept);
    let mut shared = *c;
    for (shared, d) in shared.iter_mut().zip(d) {
        *shared = machine.xor(*shared, *d);
    }
    let [key, next_key] = keys;
    mix_bytes(machine, a, b, &shared, key);
    mix_bytes(machine, b, a, &shared, next_key);
}

#[inline(always)]
fn mix_bytes<M: Machine>(
    machine: M,
    word: &mut [M::Vector; 4],
    other: &[M::Vector; 4],
    shared: &[M::Vector; 4],
    key: &[u32; 4],
) {
    let [mut own, mut left] = [*shared; 2];
    for ((((own, left), other), shared), key) in own
        .iter_mut()
        .zip(&mut left)
        .zip(other)
        .zip(shared)
        .zip(key)
    {
        [*own, *left] = machine.own_and_left(machine.xor3(*other, *shared, machine.splat(*key)));
    }
    let ([a, b, c, d], [e, f, g, h]) = (own, left);
    let (ef, gh) = (machine.xor(e, f), machine.xor(g, h));
    let [w, x, y, z] = word;
    *w = machine.xor3(machine.xor3(*w, a, d), f, gh);
    *x = machine.xor3(machine.xor3(*x, b, a), e, gh);
    *y = machine.xor3(machine.xor3(*y, c, b), h, ef);
    *z = machine.xor3(machine.xor3(*z, d, c), g, ef);
}

/// The keystream of the state behind the last round, in the order of blocks.
#[inline(always)]
pub(super) fn keystream_of_bytes<M: Machine>(
    machine: M,
    state: [[M::Vector; 4]; 4],
) -> [M::Vector; 16] {
    let [a, b, c, d] = state;
    // The standard's reversal of the words at the end.
    let mut rows = [machine.splat(0); 16];
    for (row, plane) in rows.iter_mut().zip([d, c, b, a].as_flattened()) {
        *row = machine.out_of_basis(*plane);
    }
    // Interleaving turns the eight bits of row and column by one place, so four times exchange row and column.
    for _ in 0..4 {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = rows;
        let pairs = [
            machine.interleave_bytes(a, i),
            machine.interleave_bytes(b, j),
            machine.interleave_bytes(c, k),
            machine.interleave_bytes(d, l),
            machine.interleave_bytes(e, m),
            machine.interleave_bytes(f, n),
            machine.interleave_bytes(g, o),
            machine.interleave_bytes(h, p),
        ];
        for (row, interleaved) in rows.iter_mut().zip(pairs.as_flattened()) {
            *row = *interleaved;
        }
    }
    rows
}

/// Which block of a set stands in which lane, of 64 bytes or of 16 words. So distributed, the transposition at the end, which
/// doesn't cross the borders of 16 bytes, gives the blocks in their order.
#[expect(
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "below 64, and the compiler evaluates this"
)]
const fn blocks_of_lanes<M: Machine, const LANES: usize>() -> [u8; LANES] {
    let (per_16_bytes, blocks) = (LANES / 4, M::BLOCKS as usize);
    let (mut block_of, mut lane) = ([0; LANES], 0);
    while lane < blocks * per_16_bytes {
        block_of[lane] = (blocks * (lane % per_16_bytes) + lane / per_16_bytes) as u8;
        lane += 1;
    }
    block_of
}
