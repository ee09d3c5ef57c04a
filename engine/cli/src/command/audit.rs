//! `yuanli audit`: who did what over the API.

use yuanli_api_types::{AuditEntry, List};

use crate::access::{engine, escaped};
use crate::arguments::{Audit, Global};
use crate::exit::Exit;
use crate::output;

/// Most entries that are asked for at once.
const PAGE: usize = 1_000;

pub(crate) async fn audit(global: &Global, arguments: Audit) -> anyhow::Result<Exit> {
    let engine = engine(global).await?;
    let by = arguments.by.map(|by| format!("&by={}", escaped(&by))).unwrap_or_default();
    let limit = if arguments.all { usize::MAX } else { arguments.limit };
    let (mut entries, mut after): (Vec<AuditEntry>, _) = (Vec::new(), String::new());
    loop {
        let size = (limit - entries.len()).min(PAGE);
        let page: List<AuditEntry> = engine.get(&format!("/api/v1/audit?limit={size}{by}{after}")).await?;
        entries.extend(page.items);
        match page.next {
            Some(next) if entries.len() < limit => after = format!("&after={next}"),
            _ => break,
        }
    }
    if global.json {
        // One for each line, so that any number of them can be written to a file and read again.
        entries.iter().try_for_each(output::json)?;
    } else {
        output::table(
            &["TIME (UTC)", "BY", "FROM", "WHAT", "ABOUT", "STATUS"],
            entries.into_iter().map(row),
        )?;
    }
    Ok(Exit::Done)
}

fn row(entry: AuditEntry) -> Vec<String> {
    vec![
        output::time(&entry.at),
        entry.by,
        entry.from,
        format!("{} {}", entry.method, entry.path),
        entry.about.unwrap_or_default(),
        entry.status.to_string(),
    ]
}
