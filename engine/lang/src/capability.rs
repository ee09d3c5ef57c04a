//! Rights: what a plugin imports against what the stage grants it, and that against what the engine allows.

use yuanli_model::ceiling::Subject;
use yuanli_model::{Capability, Ceiling, Grant, PluginDescription};

use crate::diagnostic::{Code, Diagnostics, Span};
use crate::stage::Draft;

/// A plugin in a stage.
pub(crate) struct Granted<'a> {
    pub(crate) stage: &'a Draft<'a>,
    /// What is granted to stages that do not say it themselves.
    pub(crate) defaults: &'a [(Grant, Span)],
    pub(crate) plugin: &'a PluginDescription,
    /// What it is called.
    pub(crate) uses: Span,
    /// The name that it was found by, if it was found by a name.
    pub(crate) name: Option<&'a str>,
}

impl Granted<'_> {
    /// Reports rights that the plugin imports and the stage does not grant, grants that it has no use for, and what the
    /// engine does not allow.
    pub(crate) fn check(&self, ceiling: &Ceiling, diagnostics: &mut Diagnostics<'_>) {
        self.check_use(diagnostics);
        self.check_missing(diagnostics);
        self.check_ceiling(ceiling, diagnostics);
    }

    /// The grants that hold, with their places.
    fn grants(&self) -> &[(Grant, Span)] {
        if self.stage.has_grants { &self.stage.grants } else { self.defaults }
    }

    fn check_use(&self, diagnostics: &mut Diagnostics<'_>) {
        // What the defaults grant is for all stages: that one of them has no use for it says nothing.
        for (granted, span) in &self.stage.grants {
            if !self.plugin.has_use_for(granted) {
                let right = granted.capability();
                let message = format!("plugin `{}` does not ask for the right `{right}`", self.plugin.name);
                diagnostics.warning(Code::NeedlessGrant, *span, message, Some("remove it".to_owned()));
            }
        }
    }

    fn check_missing(&self, diagnostics: &mut Diagnostics<'_>) {
        let plugin = self.plugin;
        let is_granted =
            |right: &Capability| self.grants().iter().any(|(granted, _)| granted.capability() == *right);
        // What came with the engine has what it imports; whom it may reach only the stage can say.
        let has = |right: &Capability| right.is_free() || plugin.is_builtin && *right != Capability::Http;
        let mut needed = plugin.capabilities.iter().copied().filter(|right| !has(right));
        let missing: Vec<Capability> = needed.clone().filter(|right| !is_granted(right)).collect();
        if missing.is_empty() {
            return;
        }
        let in_words =
            missing.iter().map(|right| format!("{} (`{right}`)", right.in_words())).collect::<Vec<_>>();
        let message =
            format!("plugin `{}` was not granted the right to {}", plugin.name, in_words.join(", and to "));
        diagnostics.error_with(Code::NotGranted, self.uses, message, || {
            let names = needed.by_ref().map(Capability::as_granted).collect::<Vec<_>>().join(", ");
            Some(format!(
                "if you trust it with that, let stage `{}` have `grants: [{names}]`",
                self.stage.key
            ))
        });
    }

    fn check_ceiling(&self, ceiling: &Ceiling, diagnostics: &mut Diagnostics<'_>) {
        let subject = Subject { name: self.name, digest: self.plugin.digest };
        let grants: Vec<Grant> = self.grants().iter().map(|(grant, _)| grant.clone()).collect();
        for (position, beyond) in ceiling.check_all(subject, self.plugin, &grants) {
            let span = position.map_or(self.uses, |position| self.grants()[position].1);
            let message = format!("plugin `{}` cannot have {beyond} on this engine", self.plugin.name);
            diagnostics.error_with(Code::NotAllowed, span, message, || Some(beyond.help()));
        }
    }
}

/// Reports what a stage grants that runs no plugin.
pub(crate) fn check_none(stage: &Draft<'_>, diagnostics: &mut Diagnostics<'_>) {
    if let Some((_, span)) = stage.grants.first() {
        let message = "a workflow says itself what its stages are granted";
        diagnostics.warning(Code::NeedlessGrant, *span, message, Some("remove it".to_owned()));
    }
}
