//! Placeholder while the first floor is built.
