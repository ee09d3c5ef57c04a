//! `yuanli plugin`.

use yuanli_api_types::List;

use crate::arguments::Global;
use crate::exit::Exit;
use crate::output;

pub(crate) async fn list(global: &Global) -> anyhow::Result<Exit> {
    let items = super::library(global)?.list().await?;
    if global.json {
        output::json(&List { items, next: None })?;
        return Ok(Exit::Done);
    }
    let rows = items.into_iter().map(|plugin| {
        let rights: Vec<String> = plugin.rights.into_iter().map(|right| right.name).collect();
        let digest = output::short_digest(&plugin.digest).to_owned();
        vec![plugin.name, plugin.version, plugin.summary, rights.join(", "), digest]
    });
    output::table(&["NAME", "VERSION", "WHAT IT DOES", "RIGHTS", "DIGEST"], rows)?;
    Ok(Exit::Done)
}
