//! Entry point: argv to a verb.

fn main() {}
