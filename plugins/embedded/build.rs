//! Compiles the built-in plugins, which `src/lib.rs` includes.

use yuanli_embed::{Guest, embed};

const fn plugin(package: &'static str, name: &'static str, folder: &'static str) -> Guest<'static> {
    Guest { package, name, folder }
}

fn main() {
    let plugins = [
        plugin("yuanli-plugin-build", "build", "plugins/build"),
        plugin("yuanli-plugin-command", "command", "plugins/command"),
        plugin("yuanli-plugin-script", "script", "plugins/script"),
        plugin("yuanli-plugin-source", "source", "plugins/source"),
        plugin("yuanli-plugin-test", "test", "plugins/test"),
    ];
    embed("../..", &plugins);
}
