//! The rounds of SM4 on two sets of 64 blocks at once, in assembly.
//!
//! A set that is laid out by bytes waits for its own results for a third of the time. Of two sets, one inverts while the other
//! sums, and both vector ports stay busy; but that takes all 32 registers and more, and compilers spill the wrong ones. Here the
//! words that a round doesn't change stand in memory, from where an instruction takes its operand at no cost.

use std::arch::asm;
use std::arch::x86_64::__m512i;

use super::sm4::{Keys, ROUNDS};
use super::sm4_field::{LEFT, LEFT_CONSTANT, OWN};

/// Two states: of each word, the plane of each byte.
#[repr(C, align(64))]
pub(super) struct Sets(pub(super) [[[__m512i; 4]; 4]; 2]);

/// A set has three groups of four registers, `x`, `y` and `z`, which take turns as
/// - the sums that go into the inversion, later its products with `OWN`;
/// - its products with `LEFT`, later the changed word;
/// - what two rounds share.
macro_rules! register {
    ("a" "x" $plane:tt) => { plane!($plane "zmm0" "zmm1" "zmm2" "zmm3") };
    ("a" "y" $plane:tt) => { plane!($plane "zmm4" "zmm5" "zmm6" "zmm7") };
    ("a" "z" $plane:tt) => { plane!($plane "zmm8" "zmm9" "zmm10" "zmm11") };
    ("a" "t" $plane:tt) => { plane!($plane "zmm12" "zmm13") };
    ("b" "x" $plane:tt) => { plane!($plane "zmm14" "zmm15" "zmm16" "zmm17") };
    ("b" "y" $plane:tt) => { plane!($plane "zmm18" "zmm19" "zmm20" "zmm21") };
    ("b" "z" $plane:tt) => { plane!($plane "zmm22" "zmm23" "zmm24" "zmm25") };
    ("b" "t" $plane:tt) => { plane!($plane "zmm26" "zmm27") };
}

macro_rules! plane {
    (0 $zeroth:tt $($later:tt)*) => { $zeroth };
    (1 $zeroth:tt $($later:tt)*) => { plane!(0 $($later)*) };
    (2 $zeroth:tt $($later:tt)*) => { plane!(1 $($later)*) };
    (3 $zeroth:tt $($later:tt)*) => { plane!(2 $($later)*) };
}

macro_rules! word {
    ($set:tt $word:tt $plane:tt) => {
        concat!("[{", $set, "} + 256 * ", $word, " + 64 * ", $plane, "]")
    };
}

macro_rules! key {
    ($round:tt $plane:tt) => {
        concat!(
            "dword ptr [{keys} + 16 * ",
            $round,
            " + 4 * ",
            $plane,
            "]{{1to16}}"
        )
    };
}

/// `$to` = `$to` + `$a` + `$b`.
macro_rules! add {
    ($to:expr, $a:expr, $b:expr) => {
        concat!("vpternlogd ", $to, ", ", $a, ", ", $b, ", 0x96\n")
    };
}

macro_rules! xor {
    ($to:expr, $a:expr, $b:expr) => {
        concat!("vpxord ", $to, ", ", $a, ", ", $b, "\n")
    };
}

macro_rules! copy {
    ($to:expr, $from:expr) => {
        concat!("vmovdqa64 ", $to, ", ", $from, "\n")
    };
}

macro_rules! times_own {
    ($set:tt $group:tt $plane:tt) => {
        concat!(
            "vgf2p8affineinvqb ", register!($set $group $plane), ", ", register!($set $group $plane), ", zmm28, 0\n"
        )
    };
}

macro_rules! times_left {
    ($set:tt $from:tt $plane:tt => $to:tt $place:tt) => {
        concat!(
            "vgf2p8affineinvqb ", register!($set $to $place), ", ", register!($set $from $plane), ", zmm29, {constant}\n"
        )
    };
}

/// Behind the first of two rounds: what they share becomes the sums of the second.
macro_rules! second {
    ($set:tt $new:tt $word:tt $plane:tt sums $sum:tt key $round:tt) => {
        concat!(
            copy!(word!($set $word $plane), register!($set $new $plane)),
            add!(register!($set $sum $plane), register!($set $new $plane), key!($round $plane)),
        )
    };
}

/// Behind the second of two rounds: the words that they changed are what the next two share; `$other` is the second of the
/// others.
macro_rules! next {
    ($set:tt $new:tt $word:tt $plane:tt shared $shared:tt with $other:tt key $round:tt) => {
        concat!(
            copy!(word!($set $word $plane), register!($set $new $plane)),
            xor!(register!($set $shared $plane), register!($set $shared $plane), register!($set $new $plane)),
            copy!(register!($set $new $plane), word!($set $other $plane)),
            add!(register!($set $new $plane), register!($set $shared $plane), key!($round $plane)),
        )
    };
}

/// One set inverts its sums; the other adds its products to a word, as `mix_bytes` does for shorter registers.
///
/// The product of plane 0 with `LEFT` stands where that of plane 1 would, and so on in pairs, so that the changed plane ends up
/// in the register that its number names.
macro_rules! half_round {
    (invert $p:tt $sum:tt $left:tt
     add $q:tt $own:tt $new:tt to $word:tt then $then:ident $($how:tt)*) => {
        concat!(
            times_left!($p $sum 0 => $left 1),
            times_left!($p $sum 1 => $left 0),
            xor!(register!($q "t" 1), register!($q $new 3), register!($q $new 2)),
            xor!(register!($q "t" 0), register!($q $new 1), register!($q $new 0)),
            add!(register!($q $new 0), register!($q "t" 1), word!($q $word 0)),
            add!(register!($q $new 1), register!($q "t" 1), word!($q $word 1)),
            times_left!($p $sum 2 => $left 3),
            times_left!($p $sum 3 => $left 2),
            add!(register!($q $new 2), register!($q "t" 0), word!($q $word 2)),
            add!(register!($q $new 3), register!($q "t" 0), word!($q $word 3)),
            add!(register!($q $new 0), register!($q $own 0), register!($q $own 3)),
            $then!($q $new $word 0 $($how)*),
            times_own!($p $sum 0),
            times_own!($p $sum 1),
            add!(register!($q $new 1), register!($q $own 1), register!($q $own 0)),
            $then!($q $new $word 1 $($how)*),
            add!(register!($q $new 2), register!($q $own 2), register!($q $own 1)),
            $then!($q $new $word 2 $($how)*),
            times_own!($p $sum 2),
            times_own!($p $sum 3),
            add!(register!($q $new 3), register!($q $own 3), register!($q $own 2)),
            $then!($q $new $word 3 $($how)*),
        )
    };
}

/// Before the first round.
macro_rules! begin {
    ($set:tt $plane:tt) => {
        concat!(
            copy!(register!($set "y" $plane), word!($set 2 $plane)),
            xor!(register!($set "y" $plane), register!($set "y" $plane), word!($set 3 $plane)),
            copy!(register!($set "x" $plane), word!($set 1 $plane)),
            add!(register!($set "x" $plane), register!($set "y" $plane), key!(0 $plane)),
        )
    };
}

/// All rounds, in place.
#[target_feature(enable = "gfni,avx512f,avx512bw,avx512vl")]
pub(super) fn rounds(keys: &Keys, sets: &mut Sets) {
    let Sets([first, second]) = sets;
    // SAFETY: the function has the instructions. The assembly reads and writes both states, 1 KiB each and aligned by the type of
    // `Sets`, and reads the rows of round keys, one more than there are rounds. It touches no other memory, and declares every
    // register that it changes.
    unsafe {
        asm!(
            "vpbroadcastq zmm28, {own_rows}",
            "vpbroadcastq zmm29, {left_rows}",
            begin!("a" 0), begin!("a" 1), begin!("a" 2), begin!("a" 3),
            begin!("b" 0), begin!("b" 1), begin!("b" 2), begin!("b" 3),
            times_left!("a" "x" 0 => "z" 1),
            times_left!("a" "x" 1 => "z" 0),
            times_left!("a" "x" 2 => "z" 3),
            times_left!("a" "x" 3 => "z" 2),
            times_own!("a" "x" 0),
            times_own!("a" "x" 1),
            times_own!("a" "x" 2),
            times_own!("a" "x" 3),
            ".p2align 6",
            "2:",
            half_round!(invert "b" "x" "z" add "a" "x" "z" to 0 then second sums "y" key 1),
            half_round!(invert "a" "y" "x" add "b" "x" "z" to 0 then second sums "y" key 1),
            half_round!(invert "b" "y" "x" add "a" "y" "x" to 1 then next shared "z" with 3 key 2),
            half_round!(invert "a" "x" "y" add "b" "y" "x" to 1 then next shared "z" with 3 key 2),
            half_round!(invert "b" "x" "y" add "a" "x" "y" to 2 then second sums "z" key 3),
            half_round!(invert "a" "z" "x" add "b" "x" "y" to 2 then second sums "z" key 3),
            half_round!(invert "b" "z" "x" add "a" "z" "x" to 3 then next shared "y" with 1 key 4),
            half_round!(invert "a" "x" "z" add "b" "z" "x" to 3 then next shared "y" with 1 key 4),
            "add {keys}, 64",
            "dec {quads:e}",
            "jnz 2b",
            keys = inout(reg) keys.by_bytes() => _,
            quads = inout(reg) ROUNDS / 4 => _,
            a = in(reg) first,
            b = in(reg) second,
            own_rows = in(reg) const { OWN.rows() },
            left_rows = in(reg) const { LEFT.rows() },
            constant = const LEFT_CONSTANT,
            out("zmm0") _, out("zmm1") _, out("zmm2") _, out("zmm3") _, out("zmm4") _,
            out("zmm5") _, out("zmm6") _, out("zmm7") _, out("zmm8") _, out("zmm9") _,
            out("zmm10") _, out("zmm11") _, out("zmm12") _, out("zmm13") _, out("zmm14") _,
            out("zmm15") _, out("zmm16") _, out("zmm17") _, out("zmm18") _, out("zmm19") _,
            out("zmm20") _, out("zmm21") _, out("zmm22") _, out("zmm23") _, out("zmm24") _,
            out("zmm25") _, out("zmm26") _, out("zmm27") _, out("zmm28") _, out("zmm29") _,
            options(nostack),
        )
    }
}
