//! `yuanli why`: an app by `app/NAME`, a run by its id, a stage by `RUN/STAGE`.

use yuanli_api_types::Reason;
use yuanli_server::printable_line;

use crate::access::Access;
use crate::arguments::Global;
use crate::exit::Exit;
use crate::output;

pub(crate) async fn why(global: &Global, what: &str) -> anyhow::Result<Exit> {
    match what.split_once('/') {
        Some(("app", name)) => super::app::why(global, name).await,
        Some((run, stage)) => of_run(global, run, Some(stage)).await,
        None => of_run(global, what, None).await,
    }
}

async fn of_run(global: &Global, run: &str, stage: Option<&str>) -> anyhow::Result<Exit> {
    let why = Access::of(global).await?.why(run, stage).await?;
    if global.json {
        output::json(&why)?;
        return Ok(Exit::Done);
    }
    match &why.stage {
        Some(stage) => output::line(format_args!("stage {stage} of run {}: {}", why.run, why.status))?,
        None => output::line(format_args!("run {} of workflow {}: {}", why.run, why.workflow, why.status))?,
    }
    why.reasons.iter().try_for_each(tell)?;
    Ok(Exit::Done)
}

fn tell(reason: &Reason) -> anyhow::Result<()> {
    let at = reason.at.as_deref().map(output::time).unwrap_or_default();
    output::line(format_args!("  {at:19}  {}", printable_line(&reason.text)))
}
