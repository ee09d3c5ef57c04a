//! Every code is explained, and its documents are what they say.

mod support;

use yuanli_lang::{Code, Diagnostic, DocumentKind, compile_app, kind_of};

use support::compiled;

/// Codes that no short document has: it would be large, or has a key that a later version knows.
const WITHOUT_DOCUMENTS: [Code; 4] = [Code::TooLarge, Code::ComingKey, Code::TooManyStages, Code::More];

fn diagnostics(text: &str) -> Vec<Diagnostic> {
    match kind_of(text) {
        DocumentKind::Workflow => compiled(text).diagnostics,
        DocumentKind::App => compile_app(text).1,
    }
}

#[test]
fn every_code_has_a_wrong_document_and_a_right_one() {
    for code in Code::ALL {
        let explanation = code.explanation();
        assert!(!explanation.title.is_empty() && !explanation.title.ends_with('.'), "{code}");
        assert!(explanation.text.ends_with('.'), "{code}");
        if WITHOUT_DOCUMENTS.contains(code) {
            assert_eq!((explanation.wrong, explanation.right), ("", ""), "{code}");
            continue;
        }
        let found = diagnostics(explanation.wrong);
        assert!(found.iter().any(|found| found.code == *code), "{code} is not in {found:?}");
        assert_eq!(diagnostics(explanation.right), [], "{code}");
    }
}
