//! Compiles the built-in plugins, which `src/lib.rs` includes.

use yuanli_embed::{Guest, embed};

const fn plugin(package: &'static str, name: &'static str, folder: &'static str) -> Guest<'static> {
    Guest { package, name, folder }
}

fn main() {
    let plugins = [
        plugin("yuanli-plugin-backup", "backup", "plugins/backup"),
        plugin("yuanli-plugin-build", "build", "plugins/build"),
        plugin("yuanli-plugin-command", "command", "plugins/command"),
        plugin("yuanli-plugin-deploy", "deploy", "plugins/deploy"),
        plugin("yuanli-plugin-gray-release", "gray-release", "plugins/gray-release"),
        plugin("yuanli-plugin-load", "load", "plugins/load"),
        plugin("yuanli-plugin-notify", "notify", "plugins/notify"),
        plugin("yuanli-plugin-push", "push", "plugins/push"),
        plugin("yuanli-plugin-restore", "restore", "plugins/restore"),
        plugin("yuanli-plugin-scale", "scale", "plugins/scale"),
        plugin("yuanli-plugin-script", "script", "plugins/script"),
        plugin("yuanli-plugin-source", "source", "plugins/source"),
        plugin("yuanli-plugin-test", "test", "plugins/test"),
    ];
    embed("../..", &plugins);
}
