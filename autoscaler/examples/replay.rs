//! Replays recorded decisions: `cargo run -p autoscaler --features json --example replay -- FILE...`
#![allow(clippy::disallowed_methods, clippy::disallowed_macros)]

fn main() {
    let mut perfect = true;
    for file in std::env::args().skip(1) {
        let text = std::fs::read_to_string(&file).unwrap();
        let report = autoscaler::conformance::replay(&file, &text);
        println!("{report}");
        perfect &= report.is_perfect();
    }
    std::process::exit(i32::from(!perfect));
}
