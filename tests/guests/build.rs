//! Compiles the guests, which `src/lib.rs` includes.

use yuanli_embed::{Guest, embed};

fn main() {
    let guests = [
        Guest { package: "yuanli-test-guest-noop", name: "noop", folder: "tests/guests/noop" },
        Guest { package: "yuanli-test-guest-probe", name: "probe", folder: "tests/guests/probe" },
    ];
    embed("../..", &guests);
}
