//! SM4 over many blocks at once, for any vector register and any instruction that inverts bytes.
//!
//! There are two ways to lay blocks out in registers. *By words*, a register holds one of the four words of the state, of four blocks
//! per 16 bytes: quickly begun, so best for few blocks. *By bytes*, it holds one of the sixteen bytes of the state, of sixteen
//! blocks per 16 bytes: the rotations of the linear layer turn into choices of registers and cost nothing.
//! In both, the state stays in the basis of [`sm4_field`](super::sm4_field) from the counter to the keystream.

use std::marker::PhantomData;
use std::sync::Arc;

use inout::InOutBuf;
use stillkey_core::DataKey;
use stillkey_core::cipher::{BLOCK_LEN, Block, Blockwise, CtrBlocks, CtrKernel, schedule};
use zeroize::optimization_barrier;

use super::sm4_field::OFFSET;

/// Vector registers and the instructions that SM4 is made of. A value holds the token that proves that they exist.
///
/// The bytes of a word stand in memory order, the highest first, so that a rotation of the word to the left by 8 bits moves each byte
/// one place down.
pub(super) trait Machine: Copy + Send + Sync + 'static {
    type Vector: Copy;

    /// Blocks of 16 bytes in a register: 1, 2 or 4.
    const BLOCKS: u8;

    /// # Safety
    /// There are `BLOCKS` blocks to read at `from`, at any alignment.
    unsafe fn load(self, from: *const u8) -> Self::Vector;

    /// # Safety
    /// There are `BLOCKS` blocks to write at `to`, at any alignment.
    unsafe fn store(self, to: *mut u8, vector: Self::Vector);

    /// `word` in every lane, its lowest byte first.
    fn splat(self, word: u32) -> Self::Vector;
    fn xor(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// In each 16 bytes, the bytes of `vector` that `order` names.
    fn shuffle(self, vector: Self::Vector, order: Self::Vector) -> Self::Vector;
    /// The lower, and the upper, halves of each 16 bytes, alternating by bytes.
    fn interleave_bytes(self, a: Self::Vector, b: Self::Vector) -> [Self::Vector; 2];
    /// The same, alternating by words.
    fn interleave_words(self, a: Self::Vector, b: Self::Vector) -> [Self::Vector; 2];

    /// [`INTO`](super::sm4_field::INTO) of each byte.
    fn into_basis(self, bytes: Self::Vector) -> Self::Vector;
    /// [`OUT_OF`](super::sm4_field::OUT_OF) of each byte.
    fn out_of_basis(self, bytes: Self::Vector) -> Self::Vector;
    /// Inverts each byte, and multiplies with [`OWN`](super::sm4_field::OWN) and with [`LEFT`](super::sm4_field::LEFT).
    fn own_and_left(self, sum: Self::Vector) -> [Self::Vector; 2];
    /// The S-box on each byte, in the standard's own basis: for the key schedule.
    fn s_box(self, bytes: Self::Vector) -> Self::Vector;

    #[inline(always)]
    fn of_bytes(self, lanes: &[u8; 64]) -> Self::Vector {
        const { assert!(Self::BLOCKS <= 4) };
        // SAFETY: the array is long enough, as just proven.
        unsafe { self.load(lanes.as_ptr()) }
    }

    #[inline(always)]
    fn of_words(self, lanes: &[u32; 16]) -> Self::Vector {
        const { assert!(Self::BLOCKS <= 4) };
        // SAFETY: the array is long enough, as just proven.
        unsafe { self.load(lanes.as_ptr().cast()) }
    }

    #[inline(always)]
    fn to_words(self, vector: Self::Vector) -> [u32; 16] {
        const { assert!(Self::BLOCKS <= 4) };
        let mut words = [0; 16];
        // SAFETY: the array is long enough, as just proven.
        unsafe { self.store(words.as_mut_ptr().cast(), vector) };
        words
    }

    #[inline(always)]
    fn to_bytes(self, vector: Self::Vector) -> [u8; 64] {
        const { assert!(Self::BLOCKS <= 4) };
        let mut bytes = [0; 64];
        // SAFETY: the array is long enough, as just proven.
        unsafe { self.store(bytes.as_mut_ptr(), vector) };
        bytes
    }

    #[inline(always)]
    fn xor3(self, a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector {
        self.xor(self.xor(a, b), c)
    }
}

/// A choice of machines and of layouts by length: one way to run SM4.
pub(super) trait Strategy: Copy + Send + Sync + 'static {
    fn expand(self, keys: &mut Keys, key: &[u8; 16]);
    /// XORs the keystream over all of `data`.
    fn apply(self, keys: &Keys, data: Data<'_>);
}

/// SM4 in counter mode, in one way to run it.
struct Sm4<S> {
    strategy: S,
    keys: Keys,
}

impl<S: Strategy> CtrBlocks for Sm4<S> {
    fn apply_blocks(&self, counter: u128, blocks: InOutBuf<'_, '_, Block>) {
        self.strategy.apply(&self.keys, Data::new(counter, blocks));
    }
}

/// Expands `key` where it will stay, so that no copies of the round keys are left on the way; `None` for the key of another cipher.
pub(super) fn kernel<S: Strategy>(strategy: S, key: &DataKey) -> Option<Arc<dyn CtrKernel>> {
    let bytes = key.secret().danger_bytes().try_into().ok()?;
    let mut kernel = Arc::new(Blockwise(Sm4 {
        strategy,
        keys: Keys::zero(),
    }));
    strategy.expand(&mut Arc::get_mut(&mut kernel)?.0.keys, bytes);
    Some(kernel)
}

/// The round keys, in the basis of the state and with [`OFFSET`] added: as words, and each byte in all four places of a word.
#[repr(C, align(64))]
pub(super) struct Keys {
    /// One row more than there are rounds, which may be read and means nothing.
    by_bytes: [[u32; 4]; ROUNDS + 1],
    by_words: [u32; ROUNDS],
}

pub(super) const ROUNDS: usize = 32;

impl Keys {
    const fn zero() -> Self {
        Self {
            by_bytes: [[0; 4]; ROUNDS + 1],
            by_words: [0; ROUNDS],
        }
    }

    pub(super) fn by_bytes(&self) -> &[[u32; 4]; ROUNDS + 1] {
        &self.by_bytes
    }

    #[inline(always)]
    pub(super) fn expand<M: Machine>(&mut self, machine: M, key: &[u8; 16]) {
        let round_keys = schedule::sm4(key, |word| {
            let words = machine.of_words(&[word, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
            let [word, ..] = machine.to_words(machine.s_box(words));
            word
        });
        let rows = self.by_bytes.as_chunks_mut::<4>().0.iter_mut();
        let words = self.by_words.as_chunks_mut::<4>().0.iter_mut();
        for ((rows, words), round_keys) in rows.zip(words).zip(round_keys.as_chunks().0) {
            *words = mapped(machine, *round_keys)
                .map(|bytes| u32::from_le_bytes(bytes) ^ everywhere(OFFSET));
            *rows = words.map(|word| word.to_le_bytes().map(everywhere));
        }
    }
}

impl Drop for Keys {
    // Not by `Zeroize`, whose volatile stores of words take as long as half of the expansion.
    fn drop(&mut self) {
        self.by_bytes = [[0; 4]; ROUNDS + 1];
        self.by_words = [0; ROUNDS];
        optimization_barrier(self);
    }
}

const fn everywhere(byte: u8) -> u32 {
    u32::from_ne_bytes([byte; 4])
}

/// What is left of the caller's data.
pub(super) struct Data<'a> {
    /// Of the first block that is left.
    counter: u128,
    /// `blocks` blocks can be read here, and written at `to`. Both are the same, or apart.
    from: *const u8,
    to: *mut u8,
    blocks: usize,
    buffer: PhantomData<InOutBuf<'a, 'a, Block>>,
}

impl<'a> Data<'a> {
    #[inline(always)]
    pub(super) fn new(counter: u128, blocks: InOutBuf<'a, 'a, Block>) -> Self {
        let len = blocks.len();
        let (from, to) = blocks.into_raw();
        Self {
            counter,
            from: from.cast(),
            to: to.cast(),
            blocks: len,
            buffer: PhantomData,
        }
    }

    /// Of the first block that is left.
    pub(super) fn counter(&self) -> u128 {
        self.counter
    }

    /// How many blocks are left.
    pub(super) fn blocks(&self) -> usize {
        self.blocks
    }

    /// XORs `keystream` over as many blocks as it has, or as there are.
    #[inline(always)]
    pub(super) fn xor<M: Machine, const N: usize>(
        &mut self,
        machine: M,
        keystream: [M::Vector; N],
    ) {
        let per_vector = usize::from(M::BLOCKS);
        if self.blocks >= N * per_vector {
            for (at, vector) in keystream.into_iter().enumerate() {
                // SAFETY: `at` is below N, and N times `M::BLOCKS` blocks are left at both places.
                unsafe { self.xor_at(machine, at, vector) };
            }
            self.advance(N * per_vector);
            return;
        }
        let (vectors, rest) = (self.blocks / per_vector, self.blocks % per_vector);
        for (at, vector) in keystream.into_iter().enumerate() {
            if at < vectors {
                // SAFETY: `at` is below the number of whole vectors that are left.
                unsafe { self.xor_at(machine, at, vector) };
            } else if at == vectors {
                self.advance(vectors * per_vector);
                self.xor_blocks(machine.to_bytes(vector), rest);
                break;
            }
        }
    }

    /// # Safety
    /// More than `at` times `M::BLOCKS` blocks are left.
    #[inline(always)]
    unsafe fn xor_at<M: Machine>(&self, machine: M, at: usize, vector: M::Vector) {
        let at = at * usize::from(M::BLOCKS) * BLOCK_LEN;
        // SAFETY: the caller vouches for the place.
        unsafe {
            let sum = machine.xor(machine.load(self.from.add(at)), vector);
            machine.store(self.to.add(at), sum);
        }
    }

    /// The last blocks, which are fewer than a register has.
    #[inline(always)]
    fn xor_blocks(&mut self, mut keystream: [u8; 64], blocks: usize) {
        for block in keystream.as_chunks().0.iter().take(blocks) {
            let block = u128::from_ne_bytes(*block);
            let (from, to) = (
                self.from.cast::<[u8; BLOCK_LEN]>(),
                self.to.cast::<[u8; BLOCK_LEN]>(),
            );
            // SAFETY: there is a block left, and arrays of bytes take any alignment.
            unsafe { to.write((u128::from_ne_bytes(from.read()) ^ block).to_ne_bytes()) };
            self.advance(1);
        }
        keystream.fill(0);
        optimization_barrier(&keystream);
    }

    /// Not further than the end: `blocks` are left.
    #[inline(always)]
    fn advance(&mut self, blocks: usize) {
        debug_assert!(blocks <= self.blocks);
        self.from = self.from.wrapping_add(blocks * BLOCK_LEN);
        self.to = self.to.wrapping_add(blocks * BLOCK_LEN);
        self.blocks -= blocks;
        self.counter = self.counter.wrapping_add(blocks as u128);
    }
}

/// Which block of a set stands in which lane, of 64 bytes or of 16 words. So distributed, the transposition at the end, which doesn't
/// cross the borders of 16 bytes, gives the blocks in their order.
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

/// XORs the keystream over up to `SETS` times four blocks per 16 bytes of a register, laid out by words.
#[inline(always)]
pub(super) fn by_words<M: Machine, const SETS: usize>(
    machine: M,
    keys: &Keys,
    data: &mut Data<'_>,
) {
    let mut state = words_of_counters::<M, SETS>(machine, data.counter);
    let turns = [
        machine.of_bytes(&const { turned(1) }),
        machine.of_bytes(&const { turned(2) }),
        machine.of_bytes(&const { turned(3) }),
    ];
    for [first, second, third, fourth] in keys.by_words.as_chunks().0 {
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

/// The bytes of `words` in the basis of the state.
#[inline(always)]
fn mapped<M: Machine>(machine: M, words: [u32; 4]) -> [[u8; 4]; 4] {
    let [a, b, c, d] = words.map(u32::swap_bytes);
    let words = machine.of_words(&[a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    let [a, b, c, d, ..] = machine.to_words(machine.into_basis(words));
    [a, b, c, d].map(u32::to_le_bytes)
}

/// The words of the counter, the highest first.
#[expect(clippy::cast_possible_truncation, reason = "it is taken apart")]
const fn words(counter: u128) -> [u32; 4] {
    [
        (counter >> 96) as u32,
        (counter >> 64) as u32,
        (counter >> 32) as u32,
        counter as u32,
    ]
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
pub(super) fn by_bytes<M: Machine, const SETS: usize>(
    machine: M,
    keys: &Keys,
    data: &mut Data<'_>,
) {
    let mut states: [_; SETS] = bytes_of_counters(machine, data.counter);
    for [first, second, third, fourth] in keys.by_bytes.as_chunks().0 {
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

#[cfg(test)]
mod tests {
    use stillkey_core::cipher::{CipherProvider, Portable};
    use stillkey_core::{Cipher, Iv, SecretBytes};

    use super::*;
    use crate::cpu::Features;
    use crate::kernel::Kernel;

    const KEY: u128 = 0x01234567_89abcdef_fedcba98_76543210;

    /// Longer than four times what any kernel takes at once.
    const MOST_BLOCKS: usize = 4 * 128 + 70;

    fn key() -> DataKey {
        DataKey::new(Cipher::Sm4, SecretBytes::new(KEY.to_be_bytes().to_vec())).unwrap()
    }

    /// Those that run here.
    fn kernels() -> impl Iterator<Item = (&'static str, Arc<dyn CtrKernel>)> {
        let expand = |kernel: &'static Kernel| {
            Some((kernel.name(), kernel.ctr(Features::detect(), &key())?))
        };
        Kernel::all().filter_map(expand)
    }

    fn text(len: usize) -> Vec<u8> {
        (0..len).map(|at| (at * 7 + at / 251) as u8).collect()
    }

    #[test]
    fn the_standards_example_comes_out() {
        // GB/T 32907-2016, A.1: the block is the key.
        for (name, kernel) in kernels() {
            let mut block = [0; 16];
            let data = block.as_mut_slice().into();
            kernel.apply(&Iv::new(KEY.to_be_bytes()), 0, data);
            let expected = 0x681edf34_d206965e_86b3e94f_536e4246;
            assert_eq!(u128::from_be_bytes(block), expected, "{name}");
        }
    }

    #[test]
    fn every_number_of_blocks_is_as_portable_in_place_and_to_a_destination() {
        let portable = Portable.ctr(&key());
        let text = text(16 * MOST_BLOCKS + 2);
        for (name, kernel) in kernels() {
            for blocks in 1..=MOST_BLOCKS {
                // A carry out of the lowest byte, and out of the lowest word, somewhere on the way.
                let iv = Iv::new((u128::from(u32::MAX) - blocks as u128 * 5 / 7).to_be_bytes());
                let source = &text[1..][..16 * blocks];
                let mut expected = source.to_vec();
                portable.apply(&iv, 0, expected.as_mut_slice().into());

                let mut found = text.clone();
                let unaligned = &mut found[1..][..16 * blocks];
                kernel.apply(&iv, 0, unaligned.into());
                assert!(*unaligned == expected, "{name}: {blocks} blocks in place");
                let behind = 1 + 16 * blocks;
                assert_eq!(found[behind..], text[behind..], "{name}: {blocks} blocks");

                let mut found = vec![0xee; source.len() + 3];
                let both = InOutBuf::new(source, &mut found[3..]).unwrap();
                kernel.apply(&iv, 0, both);
                assert!(found[3..] == expected, "{name}: {blocks} blocks apart");
                assert_eq!(found[..3], [0xee; 3], "{name}: {blocks} blocks");
            }
        }
    }

    #[test]
    fn the_counter_carries_in_every_lane() {
        let portable = Portable.ctr(&key());
        let beside = |end: u128, step| (0..130).step_by(step).map(move |before| end - before);
        let ivs = beside(u128::from(u32::MAX), 1)
            .chain(beside((1 << 40) - 1, 23))
            .chain(beside(u128::from(u64::MAX), 23))
            .chain(beside(u128::MAX, 23));
        let ivs: Vec<_> = ivs.map(|iv| Iv::new(iv.to_be_bytes())).collect();
        for (name, kernel) in kernels() {
            for (iv, blocks) in ivs
                .iter()
                .flat_map(|iv| [3, 13, 30, 45, 64, 131].map(|blocks| (iv, blocks)))
            {
                let (mut expected, mut found) = (text(16 * blocks), text(16 * blocks));
                portable.apply(iv, 0, expected.as_mut_slice().into());
                kernel.apply(iv, 0, found.as_mut_slice().into());
                assert!(found == expected, "{name}: {iv:?}, {blocks} blocks");
            }
        }
    }

    #[test]
    fn every_byte_can_be_the_first_and_the_last() {
        let portable = Portable.ctr(&key());
        let iv = Iv::new([0xfe; 16]);
        for (name, kernel) in kernels() {
            for (offset, len) in
                (0..18).flat_map(|offset| (0..300).step_by(7).map(move |len| (offset, len)))
            {
                let (mut expected, mut found) = (text(len), text(len));
                portable.apply(&iv, offset, expected.as_mut_slice().into());
                kernel.apply(&iv, offset, found.as_mut_slice().into());
                assert_eq!(found, expected, "{name}: {offset}+{len}");
            }
        }
    }
}
