//! Patches: pure functions from an object and a patch to the patched object.

pub mod json;
pub mod merge;
pub mod strategic;
