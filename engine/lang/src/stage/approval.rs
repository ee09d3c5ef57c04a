//! `approval`: `true`, what is asked, or `{message, by, count, deadline, on_expiry, inputs}`.

use std::num::NonZeroU32;
use std::time::Duration;

use yuanli_model::stage::{self, Expiry};

use crate::diagnostic::{Code, Diagnostics, Span};
use crate::input::{self, Inputs};
use crate::key;
use crate::node::{Entry, Kind};
use crate::value::{self, Config};

/// Most people that have to agree.
const MAX_COUNT: u32 = 100;

/// What a person has to agree to.
#[derive(Debug)]
pub(crate) struct Approval {
    pub(crate) message: Option<Config>,
    by: Vec<String>,
    count: NonZeroU32,
    deadline: Option<Duration>,
    on_expiry: Expiry,
    pub(crate) inputs: Inputs,
    /// Where it asks for inputs.
    pub(crate) inputs_span: Option<Span>,
}

impl Approval {
    fn new(message: Option<Config>) -> Self {
        Self {
            message,
            by: Vec::new(),
            count: NonZeroU32::MIN,
            deadline: None,
            on_expiry: Expiry::default(),
            inputs: Inputs::default(),
            inputs_span: None,
        }
    }

    pub(crate) fn into_model(self) -> stage::Approval {
        stage::Approval {
            message: self.message.map(|message| message.template),
            by: self.by,
            count: self.count,
            deadline: self.deadline,
            on_expiry: self.on_expiry,
            inputs: self.inputs.valid,
        }
    }
}

/// The approval that a stage asks for; `None` for `false`, and when it cannot be read at all.
pub(super) fn read(entry: &Entry, diagnostics: &mut Diagnostics<'_>) -> Option<Approval> {
    match &entry.value.kind {
        Kind::Bool(true) => Some(Approval::new(None)),
        Kind::Bool(false) => None,
        Kind::Text(_) => Some(Approval::new(Some(value::config(&entry.value, diagnostics)))),
        Kind::Map(entries) => Some(read_long(entries, diagnostics)),
        _ => {
            let message =
                format!("`approval` must be `true`, a question or a map, not {}", entry.value.what());
            diagnostics.error_with(Code::WrongKind, entry.value_span(), message, || {
                Some("write `approval: \"Deploy to production?\"`".to_owned())
            });
            None
        }
    }
}

fn read_long(entries: &[Entry], diagnostics: &mut Diagnostics<'_>) -> Approval {
    key::check(entries, &key::APPROVAL, diagnostics);
    let given = |key| key::given(entries, key);
    let message = given("message").and_then(|message| {
        key::text_of(message, diagnostics)?;
        Some(value::config(&message.value, diagnostics))
    });
    let by = given("by").map(|by| key::texts_of(by, "the name of a person or a role", diagnostics));
    let count = given("count").and_then(|count| key::number_of(count, 1..=MAX_COUNT, diagnostics));
    let deadline = given("deadline").and_then(|deadline| key::duration_of(deadline, diagnostics));
    let words = [("reject", Expiry::Reject), ("approve", Expiry::Approve)];
    let on_expiry = given("on_expiry").and_then(|entry| key::word_of(entry, &words, diagnostics));
    if let Some(entry) = given("on_expiry").filter(|_| given("deadline").is_none()) {
        let message = "`on_expiry` does nothing without a deadline";
        let help = "add `deadline:`, such as `deadline: 1d`, or remove it".to_owned();
        diagnostics.warning(Code::Idle, entry.key_span, message, Some(help));
    }
    let inputs = given("inputs");
    Approval {
        by: by.unwrap_or_default().into_iter().map(|(name, _)| name.to_owned()).collect(),
        count: count.and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MIN),
        deadline,
        on_expiry: on_expiry.unwrap_or_default(),
        inputs_span: inputs.map(|inputs| inputs.key_span),
        inputs: inputs.map(|inputs| input::read(inputs, "input", diagnostics)).unwrap_or_default(),
        ..Approval::new(message)
    }
}
