//! Updates as JSON lines.

use yuanli_api_types::Update;

use super::View;
use crate::output;

/// One line for each update, on standard output.
pub(crate) struct Json;

impl View for Json {
    fn show(&mut self, update: &Update) -> anyhow::Result<()> {
        output::json(update)
    }

    fn notice(&mut self, text: &str) {
        output::note(text);
    }
}
