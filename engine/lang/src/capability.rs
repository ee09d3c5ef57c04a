//! Rights: what a plugin imports against what the stage grants it.

use yuanli_model::{Capability, Grant, PluginDescription};

use crate::diagnostic::{Code, Diagnostics};
use crate::stage::Draft;

/// Reports rights that the plugin imports and the stage does not grant, and grants that it has no use for.
pub(crate) fn check(
    stage: &Draft<'_>,
    defaults: &[Grant],
    plugin: &PluginDescription,
    diagnostics: &mut Diagnostics<'_>,
) {
    for (granted, span) in &stage.grants {
        let right = granted.capability();
        if !plugin.capabilities.contains(&right) {
            let message = format!("plugin `{}` does not ask for the right `{right}`", plugin.name);
            diagnostics.warning(Code::NeedlessGrant, *span, message, Some("remove it".to_owned()));
        }
    }
    // What the defaults grant is for all stages: that one of them has no use for it says nothing.
    let is_granted = |right: &Capability| match stage.has_grants {
        true => stage.grants.iter().any(|(granted, _)| granted.capability() == *right),
        false => defaults.iter().any(|granted| granted.capability() == *right),
    };
    let mut needed = plugin.capabilities.iter().copied().filter(|right| !right.is_free());
    let missing: Vec<Capability> = needed.clone().filter(|right| !is_granted(right)).collect();
    let Some((_, span)) = stage.uses.as_ref().filter(|_| !plugin.is_builtin && !missing.is_empty()) else {
        return;
    };
    let in_words =
        missing.iter().map(|right| format!("{} (`{right}`)", right.in_words())).collect::<Vec<_>>();
    let message =
        format!("plugin `{}` was not granted the right to {}", plugin.name, in_words.join(", and to "));
    diagnostics.error_with(Code::NotGranted, *span, message, || {
        let names = needed.by_ref().map(Capability::as_granted).collect::<Vec<_>>().join(", ");
        Some(format!("if you trust it with that, let stage `{}` have `grants: [{names}]`", stage.key))
    });
}

/// Reports what a stage grants that runs no plugin.
pub(crate) fn check_none(stage: &Draft<'_>, diagnostics: &mut Diagnostics<'_>) {
    if let Some((_, span)) = stage.grants.first() {
        let message = "a workflow says itself what its stages are granted";
        diagnostics.warning(Code::NeedlessGrant, *span, message, Some("remove it".to_owned()));
    }
}
