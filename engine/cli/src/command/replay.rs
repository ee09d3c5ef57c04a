//! `yuanli runs replay`: an attempt that has ended, told once more what it was told.

use yuanli_api_types::{Replay, ReplayEnding, ReplayRequest, ReplayStep};
use yuanli_server::printable_line;

use crate::access::{Access, escaped, select};
use crate::arguments::{self, Global};
use crate::exit::{Exit, Misuse};
use crate::output;

pub(crate) async fn replay(global: &Global, arguments: arguments::Replay) -> anyhow::Result<Exit> {
    let Some((run, stage)) = arguments.stage.split_once('/') else {
        let why = format!("`{}` names no stage: write RUN/STAGE, such as last/build", arguments.stage);
        return Err(Misuse(why).into());
    };
    let request = ReplayRequest { instance: None, attempt: arguments.attempt };
    let replay: Replay = match Access::of(global).await? {
        Access::Here(engine) => {
            let run = select(&engine, run).await?;
            let replayed = engine.replay(run, stage, &request, arguments.plugin.as_deref()).await;
            engine.close().await;
            replayed?.map_err(Misuse)?
        }
        Access::There(_) if arguments.plugin.is_some() => {
            let why = "a component is tried where no engine serves: `yuanli admin export`, `import` into another data \
                       directory, and `--data` take the run there, beside the engine";
            return Err(Misuse(why.to_owned()).into());
        }
        Access::There(client) => {
            let path = format!("/api/v1/runs/{}/stages/{}/replay", escaped(run), escaped(stage));
            client.post(&path, &request, None).await?
        }
    };
    let exit = if replay.same { Exit::Done } else { Exit::Failed };
    match global.json {
        true => output::json(&replay)?,
        false => show(&replay)?,
    }
    Ok(exit)
}

fn show(replay: &Replay) -> anyhow::Result<()> {
    let Replay { run, stage, instance, attempt, plugin, component, changed, .. } = replay;
    let instance = if *instance == 0 { String::new() } else { format!("[{instance}]") };
    let digest = output::short_digest(component);
    let tried = if *changed { format!("another component, {digest}") } else { digest.to_owned() };
    output::line(format_args!("{stage}{instance} of run {run}, attempt {attempt}: {plugin} ({tried})"))?;
    replay.steps.iter().try_for_each(show_step)?;
    if replay.left_out > 0 {
        output::line(format_args!("      and {} further steps", replay.left_out))?;
    }
    let now = in_words(&replay.ending);
    match replay.same {
        true => output::line(format_args!("\nended as the attempt did: {now}"))?,
        false => {
            output::line(format_args!("\nended: {now}"))?;
            output::line(format_args!("the attempt: {}", in_words(&replay.recorded)))?;
        }
    }
    Ok(())
}

fn show_step(step: &ReplayStep) -> anyhow::Result<()> {
    match step {
        ReplayStep::Call { index, function, arguments, answer, .. } => output::line(format_args!(
            "{index:5}  {function}({}) = {}",
            printable_line(arguments),
            output::value(answer)
        )),
        ReplayStep::Line { text, .. } => output::line(format_args!("       | {}", printable_line(text))),
    }
}

fn in_words(ending: &ReplayEnding) -> String {
    match ending {
        ReplayEnding::Succeeded { outputs } => format!("succeeded, with {}", output::value(outputs)),
        ReplayEnding::Failed { failure } => format!("failed{}", output::failure(failure)),
        ReplayEnding::Cancelled => "cancelled".to_owned(),
        ReplayEnding::Mismatch { text } | ReplayEnding::Cut { text } => printable_line(text).into_owned(),
    }
}
