//! What the codes of diagnostics mean, as bodies of `api-types`.

use yuanli_api_types as api;
use yuanli_lang::Code;

/// All codes, by number.
#[must_use]
pub fn explanations() -> Vec<api::Explanation> {
    Code::ALL.iter().copied().map(body).collect()
}

/// The code that a text names, such as `WF012`, `wf12` or `12`.
#[must_use]
pub fn explanation(code: &str) -> Option<api::Explanation> {
    named(code).map(body)
}

/// The code that is nearest to a text which names none.
#[must_use]
pub fn nearest_code(wrong: &str) -> Option<String> {
    let codes: Vec<String> = Code::ALL.iter().map(ToString::to_string).collect();
    yuanli_expr::nearest(wrong, codes.iter().map(String::as_str)).map(str::to_owned)
}

fn named(text: &str) -> Option<Code> {
    let text = text.trim().to_ascii_uppercase();
    let number = text.strip_prefix("WF").unwrap_or(&text).parse::<u16>().ok()?;
    Code::ALL.iter().copied().find(|code| *code as u16 == number)
}

fn body(code: Code) -> api::Explanation {
    let explanation = code.explanation();
    let document = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    api::Explanation {
        code: code.to_string(),
        title: explanation.title.to_owned(),
        text: explanation.text.to_owned(),
        wrong: document(explanation.wrong),
        right: document(explanation.right),
    }
}
