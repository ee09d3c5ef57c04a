//! What a test answers where the mock keeps nothing itself.

use serde_json::Value;

use super::host::apps::Rollout;
use super::host::http::Request as HttpRequest;
use super::host::traffic::GrayRelease;
use crate::{apps, backups, http, images, metrics, registries, source, traffic};

/// Answers of a test. Each function that it does not have ends the test when a stage calls it.
///
/// ```
/// use yuanli_sdk::mock::{Answers, Mock};
/// use yuanli_sdk::prelude::*;
///
/// struct Registry;
///
/// impl Answers for Registry {
///     fn tag(&mut self, image: &str, name: &str) -> Result<(), images::Error> {
///         assert_eq!((image, name), ("shop:dev", "shop:1"));
///         Ok(())
///     }
/// }
///
/// Mock::new().answering(Registry);
/// ```
#[expect(unused_variables, reason = "names for whoever writes an answer")]
pub trait Answers {
    /// [`images::build`]
    fn build(&mut self, request: &images::BuildRequest) -> Result<images::Image, images::Error> {
        nobody("images::build")
    }

    /// [`images::inspect`]
    fn inspect_image(&mut self, image: &str) -> Result<images::Image, images::Error> {
        nobody("images::inspect")
    }

    /// [`images::read_files`]
    fn read_image_files(
        &mut self,
        image: &str,
        paths: &[String],
    ) -> Result<Vec<Option<Vec<u8>>>, images::Error> {
        nobody("images::read_files")
    }

    /// [`images::save`]: the bytes of the archive, which become the file
    fn save_images(&mut self, images: &[String]) -> Result<Vec<u8>, images::Error> {
        nobody("images::save")
    }

    /// [`images::load`], with the bytes of the file
    fn load_images(&mut self, archive: &[u8]) -> Result<Vec<images::Image>, images::Error> {
        nobody("images::load")
    }

    /// [`images::tag`]
    fn tag(&mut self, image: &str, name: &str) -> Result<(), images::Error> {
        nobody("images::tag")
    }

    /// [`images::remove`]
    fn remove_image(&mut self, image: &str) -> Result<(), images::Error> {
        nobody("images::remove")
    }

    /// [`registries::push`], with the user's name
    fn push(
        &mut self,
        image: &str,
        username: Option<&str>,
    ) -> Result<registries::Published, registries::Error> {
        nobody("registries::push")
    }

    /// [`registries::push_as`], with the user's name
    fn push_as(
        &mut self,
        image: &str,
        name: &str,
        username: Option<&str>,
    ) -> Result<registries::Published, registries::Error> {
        nobody("registries::push_as")
    }

    /// [`registries::pull`], with the platform and the user's name
    fn pull(
        &mut self,
        image: &str,
        platform: Option<&str>,
        username: Option<&str>,
    ) -> Result<registries::Pulled, registries::Error> {
        nobody("registries::pull")
    }

    /// [`registries::find`], with the user's name
    fn find_published(
        &mut self,
        image: &str,
        username: Option<&str>,
    ) -> Result<registries::Published, registries::Error> {
        nobody("registries::find")
    }

    /// [`source::git`]
    fn git(&mut self, request: &source::GitRequest, into: &str) -> Result<source::Checkout, source::Error> {
        nobody("source::git")
    }

    /// [`source::folder`]
    fn folder(&mut self, path: &str, into: &str) -> Result<source::Checkout, source::Error> {
        nobody("source::folder")
    }

    /// [`source::fetch`], with the user's name and the options
    fn fetch(
        &mut self,
        request: &source::GitRequest,
        into: &str,
        username: Option<&str>,
        options: &[(String, String)],
    ) -> Result<source::Fetched, source::Error> {
        nobody("source::fetch")
    }

    /// [`source::copy`]
    fn copy(&mut self, path: &str, into: &str) -> Result<source::Fetched, source::Error> {
        nobody("source::copy")
    }

    /// [`apps::deploy`]
    fn deploy(&mut self, document: Value) -> Result<Rollout, apps::Error> {
        nobody("apps::deploy")
    }

    /// `undo` of a [`Rollout`]
    fn undo(&mut self, release: u32, reason: &str) -> Result<(), apps::Error> {
        nobody("Rollout::undo")
    }

    /// [`apps::scale`]
    fn scale(&mut self, app: &str, wish: apps::Wish) -> Result<u32, apps::Error> {
        nobody("apps::scale")
    }

    /// [`apps::wait_scaled`]
    fn wait_scaled(&mut self, app: &str, timeout_ms: u64) -> Result<u32, apps::Error> {
        nobody("apps::wait_scaled")
    }

    /// [`apps::inspect`]
    fn inspect_app(&mut self, app: &str) -> Result<apps::Status, apps::Error> {
        nobody("apps::inspect")
    }

    /// [`traffic::begin`]
    fn begin(&mut self, document: Value, plan: &traffic::Plan) -> Result<GrayRelease, traffic::Error> {
        nobody("traffic::begin")
    }

    /// `abort` of a [`GrayRelease`]
    fn abort(&mut self, release: u32, reason: &str) -> Result<(), traffic::Error> {
        nobody("GrayRelease::abort")
    }

    /// `send` of an [`http::Request`]
    fn send(&mut self, request: &HttpRequest) -> Result<http::Response, http::Error> {
        nobody("http::send")
    }

    /// [`metrics::query`]
    fn query(&mut self, app: &str) -> Result<metrics::AppMetrics, metrics::Error> {
        nobody("metrics::query")
    }

    /// [`backups::create`]
    fn back_up(
        &mut self,
        volume: &str,
        repository: &str,
        pause_ms: u64,
    ) -> Result<backups::Snapshot, backups::Error> {
        nobody("backups::create")
    }

    /// [`backups::snapshots`]
    fn snapshots(
        &mut self,
        repository: &str,
        volume: &str,
    ) -> Result<Vec<backups::Snapshot>, backups::Error> {
        nobody("backups::snapshots")
    }

    /// [`backups::verify`]
    fn verify(&mut self, repository: &str, snapshot: &str) -> Result<backups::Extent, backups::Error> {
        nobody("backups::verify")
    }

    /// [`backups::restore`]
    fn restore(
        &mut self,
        repository: &str,
        snapshot: &str,
        volume: &str,
    ) -> Result<backups::Extent, backups::Error> {
        nobody("backups::restore")
    }
}

/// Answers nothing.
pub(super) struct Nobody;

impl Answers for Nobody {}

fn nobody(function: &str) -> ! {
    panic!("the stage calls `{function}`, which the test does not answer: see `Mock::answering`")
}
