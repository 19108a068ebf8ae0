//! Files, as their users see them, and what a power failure leaves of them.

mod crash;
mod files;

const NOW: u64 = 1_700_000_000;
