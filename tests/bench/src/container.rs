//! Containers, logs and contexts on real Docker, beside the docker program doing the same in the same minute.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, ensure};
use yuanli_api_types::Update;
use yuanli_docker::{Docker, Options};
use yuanli_ports::containers::ContainerId;
use yuanli_ports::images::{BuildRequest, Builder};
use yuanli_ports::{Cancellation, Containers, Images};
use yuanli_server::{Engine, Locations, RunId};

use crate::measure::{Samples, now};
use crate::report::{Figure, Row};
use crate::{Bench, Sizes, errand};

const IMAGE: &str = "yuanli-bench-busybox";
/// Commands that the image has, links to busybox.
const APPLETS: [&str; 6] = ["awk", "head", "sh", "true", "usleep", "yes"];
const STAGES: usize = 30;
const LOGS: usize = 3;
const BUILDS: usize = 3;
/// What the issue asks for.
const OVERHEAD_MS: f64 = 30.0;
const BUILD_RATIO: f64 = 1.1;
const MEMORY_MIB: f64 = 100.0;
/// A line of the log, without its end.
const LINE: &str = "2026-01-01T00:00:00Z INFO request served in 12 ms";

pub(crate) async fn measure(bench: &Bench) -> anyhow::Result<Figure> {
    let docker = Docker::connect(Options::from_environment()).await?;
    make_image(&bench.fresh("image")?)?;
    let Sizes { lines, files, context_mib, log_mib } = bench.sizes;
    let (mut rows, data) = stage(bench).await?;
    rows.extend(logs(&docker, lines).await?);
    rows.extend(contexts(&docker, &bench.fresh("context")?, files).await?);
    rows.push(memory(&bench.fresh("large")?, context_mib)?);
    rows.push(memory_of_log(&data, log_mib)?);
    let conditions = format!(
        "Docker's classic builder, its log driver of json files, no network; in turns; {lines} lines of {} bytes; {files} files of \
         some bytes; builds of a context without a step that takes it",
        LINE.len() + 1
    );
    Ok(Figure { name: "docker", conditions, rows })
}

/// What the docker program does, which has to do it well.
pub(crate) fn docker(arguments: &[&str]) -> anyhow::Result<Output> {
    let output =
        Command::new("docker").args(arguments).env("DOCKER_BUILDKIT", "0").stdin(Stdio::null()).output()?;
    ensure!(output.status.success(), "docker {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(output)
}

/// Makes the image that containers of stages are of.
pub(crate) fn make_image(folder: &Path) -> anyhow::Result<()> {
    let bin = folder.join("bin");
    std::fs::create_dir(&bin)?;
    let program = ["/bin/busybox", "/usr/bin/busybox"].iter().map(PathBuf::from).find(|path| path.exists());
    std::fs::copy(program.context("`apt-get install busybox-static` first")?, bin.join("busybox"))?;
    for applet in APPLETS {
        std::os::unix::fs::symlink("busybox", bin.join(applet))?;
    }
    std::fs::write(folder.join("Dockerfile"), "FROM scratch\nCOPY bin /bin\n")?;
    docker(&["build", "-q", "-t", IMAGE, &folder.display().to_string()]).map(drop)
}

/// A stage of one container, beside `docker run`.
async fn stage(bench: &Bench) -> anyhow::Result<(Vec<Row>, PathBuf)> {
    let folder = bench.fresh("stage")?;
    let file = workflow(&folder, "/bin/true")?;
    let engine = Engine::open(&Locations::new(folder.join("data"))).await?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    // The first one compiles the plugin.
    run(&engine, &file).await?;
    for _ in 0..STAGES {
        let begun = now();
        docker(&["run", "--rm", "--network=none", IMAGE, "/bin/sh", "-c", "/bin/true"])?;
        theirs.push(begun.elapsed());
        let begun = now();
        run(&engine, &file).await?;
        ours.push(begun.elapsed());
    }
    engine.close().await;
    let (ours, theirs) = (Samples::new(ours), Samples::new(theirs));
    let over = (ours.median().as_secs_f64() - theirs.median().as_secs_f64()) * 1e3;
    let rows = vec![
        Row::millis("`docker run --rm`", &theirs),
        Row::millis("a stage of one container, from its file to its durable end", &ours),
        Row::plain("the stage over `docker run`", over, "ms").at_most(OVERHEAD_MS, ""),
    ];
    Ok((rows, folder))
}

/// Writes a workflow of one container.
pub(crate) fn workflow(folder: &Path, command: &str) -> anyhow::Result<PathBuf> {
    let file = folder.join("bench.yaml");
    let with = format!("{{ image: {IMAGE}, command: [/bin/sh, -c, \"{command}\"] }}");
    std::fs::write(&file, format!("name: bench\nstages:\n  it:\n    uses: command\n    with: {with}\n"))?;
    Ok(file)
}

/// Starts a run of a workflow that lies in a file.
pub(crate) async fn start(engine: &Engine, file: &Path) -> anyhow::Result<RunId> {
    let document = engine
        .library()
        .read(&file.display().to_string())
        .await
        .map_err(|error| anyhow::anyhow!("{error:?}"))?;
    engine
        .start(document, Vec::new(), yuanli_server::Manner::default())
        .await?
        .map_err(|refused| anyhow::anyhow!("{refused:?}"))
}

async fn run(engine: &Engine, file: &Path) -> anyhow::Result<()> {
    let run = start(engine, file).await?;
    let mut updates = engine.follow(run);
    let mut last = None;
    while let Some(update) = updates.next().await? {
        if let Update::Event(event) = update {
            last = Some(event);
        }
    }
    let last = serde_json::to_string(&last)?;
    ensure!(last.contains("succeeded"), "the run ended with {last}");
    Ok(())
}

/// A log that was written, read by each.
async fn logs(client: &Docker, lines: u64) -> anyhow::Result<Vec<Row>> {
    let script = format!("awk 'BEGIN {{ for (i = 1; i <= {lines}; i++) print i \" {LINE}\" }}'");
    let output = docker(&["run", "-d", "--network=none", IMAGE, "/bin/sh", "-c", &script])?;
    let id = String::from_utf8(output.stdout)?.trim().to_owned();
    let measured = read_logs(client, &id, lines).await;
    docker(&["rm", "-f", &id])?;
    measured
}

async fn read_logs(client: &Docker, id: &str, lines: u64) -> anyhow::Result<Vec<Row>> {
    let code = docker(&["wait", id])?.stdout;
    ensure!(code == b"0\n", "what writes the log ended with {}", String::from_utf8_lossy(&code));
    let (mut ours, mut theirs, mut wrong) = (Vec::new(), Vec::new(), 0);
    for _ in 0..LOGS {
        let begun = now();
        let status = Command::new("docker").args(["logs", id]).stdout(Stdio::null()).status()?;
        theirs.push(begun.elapsed());
        ensure!(status.success(), "docker logs ended with {status}");
        // Each line has its number, so that one that is lost, doubled or out of order is seen.
        let (count, out_of_order) = (AtomicU64::new(0), AtomicU64::new(0));
        let on_line = |_, text: String| {
            let expected = count.fetch_add(1, Ordering::Relaxed) + 1;
            let number = text.strip_suffix(LINE).and_then(|number| number.trim_end().parse().ok());
            out_of_order.fetch_add(u64::from(number != Some(expected)), Ordering::Relaxed);
        };
        let begun = now();
        client.follow(&ContainerId(id.to_owned()), &on_line).await?;
        ours.push(begun.elapsed());
        wrong = wrong.max(lines.abs_diff(count.into_inner()).max(out_of_order.into_inner()));
    }
    let rate = |times: Vec<_>| lines as f64 / Samples::new(times).median().as_secs_f64();
    let (ours, theirs) = (rate(ours), rate(theirs));
    Ok(vec![
        Row::plain("`docker logs` to /dev/null", theirs, "lines/s"),
        Row::plain("the same log followed, line by line", ours, "lines/s")
            .at_least(theirs, "that of `docker logs`"),
        Row::plain("lines lost, doubled or out of order", wrong as f64, "").at_most(0.0, ""),
    ])
}

/// A context of many files, sent by each.
async fn contexts(client: &Docker, folder: &Path, files: u64) -> anyhow::Result<Vec<Row>> {
    for number in 0..files {
        let below = folder.join(format!("{}", number / 1000));
        if number % 1000 == 0 {
            std::fs::create_dir(&below)?;
        }
        std::fs::write(below.join(format!("{number}.txt")), format!("file {number}\n"))?;
    }
    std::fs::write(folder.join("Dockerfile"), "FROM scratch\nLABEL is=bench\n")?;
    let place = folder.display().to_string();
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    // What both find in the builder's cache then: nothing but the context is to be measured.
    docker(&["build", "-q", &place])?;
    let mut image = String::new();
    for _ in 0..BUILDS {
        let begun = now();
        docker(&["build", "-q", &place])?;
        theirs.push(begun.elapsed());
        let begun = now();
        image = build(client, folder).await?;
        ours.push(begun.elapsed());
    }
    Images::remove(client, &image).await?;
    let (ours, theirs) = (Samples::new(ours), Samples::new(theirs));
    let ratio = ours.median().as_secs_f64() / theirs.median().as_secs_f64();
    Ok(vec![
        Row::millis("`docker build` of many files", &theirs),
        Row::millis("the same built by the engine", &ours),
        Row::plain("its time over that of `docker build`", ratio, "×").at_most(BUILD_RATIO, ""),
    ])
}

async fn build(client: &Docker, folder: &Path) -> anyhow::Result<String> {
    let request = BuildRequest {
        context: folder.to_owned(),
        dockerfile: "Dockerfile".to_owned(),
        builder: Builder::Classic,
        ..BuildRequest::default()
    };
    Ok(client.build(&request, &|_| (), &Cancellation::new()).await?.id)
}

/// What a process has at most in memory that sends a large context, in a child.
fn memory(folder: &Path, mib: u64) -> anyhow::Result<Row> {
    std::fs::File::create(folder.join("large"))?.set_len(mib << 20)?;
    std::fs::write(folder.join("Dockerfile"), "FROM scratch\nLABEL is=large\n")?;
    let bytes = errand::built(folder)?;
    let row =
        Row::plain(format!("memory while a context of {mib} MiB is sent"), bytes / f64::from(1 << 20), "MiB");
    Ok(row.at_most(MEMORY_MIB, ""))
}

/// Builds a folder, and gives the most that this process has had in memory. Called in a child.
pub(crate) async fn most_memory(folder: &Path) -> anyhow::Result<u64> {
    let client = Docker::connect(Options::from_environment()).await?;
    let image = build(&client, folder).await?;
    let most = crate::usage::most_resident_bytes();
    Images::remove(&client, &image).await?;
    most
}

/// What an engine has at most in memory whose stage writes a large log, in a child. In the data directory of one that has
/// compiled the plugin, which takes more.
fn memory_of_log(folder: &Path, mib: u64) -> anyhow::Result<Row> {
    let bytes = errand::logged(folder, mib)?;
    let row = Row::plain(
        format!("memory of the engine while a stage writes {mib} MiB of log"),
        bytes / f64::from(1 << 20),
        "MiB",
    );
    Ok(row.at_most(MEMORY_MIB, ""))
}

/// Runs a stage that writes so much log, and gives the most that this process has had in memory. Called in a child.
pub(crate) async fn most_memory_of_log(folder: &Path, mib: u64) -> anyhow::Result<u64> {
    let file = workflow(folder, &format!("yes '{LINE}' | head -c {}", mib << 20))?;
    let engine = Engine::open(&Locations::new(folder.join("data"))).await?;
    run(&engine, &file).await?;
    engine.close().await;
    crate::usage::most_resident_bytes()
}
