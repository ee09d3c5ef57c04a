//! A run of a diamond-shaped workflow, and stages whose work is a closure over their folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use indexmap::IndexMap;
use tempfile::TempDir;
use yuanli_model::{AttemptId, Digest, PluginReference, RunId, Stage, Workflow};
use yuanli_ports::workspaces::WorkspaceError;
use yuanli_ports::{AttemptWorkspace, Workspaces};
use yuanli_workspace::FileWorkspaces;

/// The run of every test, the first one where there are several.
pub(crate) const RUN: RunId = RunId::from_u128(7);

/// `source` is needed by `left` and `right`; `join` needs both.
pub(crate) struct Diamond {
    pub(crate) root: Arc<TempDir>,
    pub(crate) workspaces: FileWorkspaces,
    run: RunId,
    workflow: Workflow,
}

impl Diamond {
    pub(crate) fn new() -> Self {
        let root = Arc::new(TempDir::new().expect("a folder"));
        let stage = |name: &str, needs: &[&str]| {
            let needs = needs.iter().map(|need| need.parse().expect("a name")).collect();
            let uses = PluginReference::Named("script".to_owned());
            Stage::new(name.parse().expect("a name"), uses).after(needs)
        };
        let stages = vec![
            stage("source", &[]),
            stage("left", &["source"]),
            stage("right", &["source"]),
            stage("join", &["left", "right"]),
        ];
        let name = "w".parse().expect("a name");
        let workflow = Workflow::new(name, None, IndexMap::new(), stages).expect("a workflow");
        Self { workspaces: FileWorkspaces::new(root.path().join("work")), root, run: RUN, workflow }
    }

    /// Another run, under another engine on the same files.
    pub(crate) fn of(&self, run: RunId) -> Self {
        let (root, workflow) = (Arc::clone(&self.root), self.workflow.clone());
        Self { workspaces: FileWorkspaces::new(root.path().join("work")), root, run, workflow }
    }

    /// The folder of the run.
    pub(crate) fn run_folder(&self) -> PathBuf {
        self.root.path().join("work").join(RUN.to_string())
    }

    /// How many manifests the run keeps.
    pub(crate) fn manifests(&self) -> usize {
        fs::read_dir(self.run_folder().join("manifests")).map_or(0, Iterator::count)
    }

    pub(crate) async fn begin(
        &self,
        stage: &str,
        needs: &[Digest],
    ) -> Result<Arc<dyn AttemptWorkspace>, WorkspaceError> {
        let stage = stage.parse().expect("a name");
        let attempt = AttemptId { run: self.run, stage, instance: 0, attempt: 1 };
        self.begin_as(&attempt, needs).await
    }

    pub(crate) async fn begin_as(
        &self,
        attempt: &AttemptId,
        needs: &[Digest],
    ) -> Result<Arc<dyn AttemptWorkspace>, WorkspaceError> {
        self.workspaces.begin(attempt, needs, &self.workflow, false).await
    }

    /// The workspace of an attempt that another engine has begun, under the next one.
    pub(crate) async fn adopt(&self, stage: &str, needs: &[Digest]) -> Arc<dyn AttemptWorkspace> {
        let stage = stage.parse().expect("a name");
        let attempt = AttemptId { run: RUN, stage, instance: 0, attempt: 1 };
        let workspaces = FileWorkspaces::new(self.root.path().join("work"));
        workspaces.begin(&attempt, needs, &self.workflow, true).await.expect("a workspace")
    }

    /// Lets a stage do `work` in its folder and says what it left.
    pub(crate) async fn try_stage(
        &self,
        stage: &str,
        needs: &[Digest],
        work: impl FnOnce(&Path),
    ) -> Result<Option<Digest>, WorkspaceError> {
        let workspace = self.begin(stage, needs).await?;
        let folder = workspace.folder().await?;
        work(&folder);
        let published = workspace.publish().await?;
        assert!(folder.exists(), "the folder stays until the end of the attempt is durable");
        workspace.discard().await?;
        assert!(!folder.exists());
        Ok(published)
    }

    /// The same for stages that succeed and leave something.
    pub(crate) async fn stage(&self, stage: &str, needs: &[Digest], work: impl FnOnce(&Path)) -> Digest {
        self.try_stage(stage, needs, work).await.expect("it succeeds").expect("it leaves something")
    }

    /// The files that a stage with these needs finds, one `path=content` each, sorted.
    pub(crate) async fn files(&self, stage: &str, needs: &[Digest]) -> String {
        let workspace = self.begin(stage, needs).await.expect("no conflict");
        let folder = workspace.folder().await.expect("a folder");
        let mut files = Vec::new();
        list(&folder, "", &mut files);
        workspace.discard().await.expect("it is removed");
        files.sort();
        files.join(" ")
    }
}

/// Writes a file and the folders above it.
pub(crate) fn write(folder: &Path, path: &str, text: &str) {
    let path = folder.join(path);
    fs::create_dir_all(path.parent().expect("a parent")).expect("a folder is made");
    fs::write(path, text).expect("a file is written");
}

fn list(folder: &Path, above: &str, files: &mut Vec<String>) {
    for entry in fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry")) {
        let name = format!("{above}{}", entry.file_name().to_string_lossy());
        let kind = entry.file_type().expect("a kind");
        if kind.is_dir() {
            files.push(format!("{name}/"));
            list(&entry.path(), &format!("{name}/"), files);
        } else if kind.is_symlink() {
            files.push(format!("{name}->{}", fs::read_link(entry.path()).expect("a link").display()));
        } else {
            files.push(format!("{name}={}", fs::read_to_string(entry.path()).expect("a text")));
        }
    }
}
