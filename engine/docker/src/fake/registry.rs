//! One registry behind all names: what was pushed can be pulled.

use async_trait::async_trait;
use yuanli_model::Digest;
use yuanli_ports::images::Image;
use yuanli_ports::registries::{Login, Pulled, Push, RegistryError};
use yuanli_ports::{Cancellation, Registries};

use super::{Call, FakeDocker, State, full_name};
use crate::reference;

impl State {
    /// The digest that a name with a tag or a digest stands for.
    fn published(&self, image: &str) -> Result<String, RegistryError> {
        let name = reference::registry_name(image)?;
        let digest = self.published.get(&full_name(image)).or_else(|| {
            let of_repository =
                |key: &&String| key.rsplit_once(':').is_some_and(|(of, _)| of == name.repository);
            let mut digests =
                self.published.iter().filter(|(key, _)| of_repository(key)).map(|(_, digest)| digest);
            digests.find(|digest| *digest == name.version)
        });
        digest.cloned().ok_or_else(|| {
            RegistryError::NotFound(format!("cannot find `{image}`: {} has no such image", name.host))
        })
    }
}

/// Of an image whose id is this one. A real one is not known before it is pushed.
fn digest_of(id: &str) -> String {
    Digest::of(format!("manifest of {id}").as_bytes()).to_string()
}

#[async_trait]
impl Registries for FakeDocker {
    async fn push(
        &self,
        Push { name: image, image: source, login }: Push<'_>,
        progress: &(dyn Fn(String) + Send + Sync),
        cancel: &Cancellation,
    ) -> Result<String, RegistryError> {
        if cancel.is_cancelled() {
            return Err(RegistryError::Cancelled);
        }
        let (name, username) = (image.to_owned(), login.map(|login| login.username.clone()));
        let call = Call::Push { image: source.map(str::to_owned), name, username };
        let mut state = self.called(Some(call))?;
        reference::parse_tag(image)?;
        if let Some(error) = state.registry_errors.pop_front() {
            return Err(error);
        }
        let id = state.image(source.unwrap_or(image))?.id.clone();
        let digest = digest_of(&id);
        state.published.insert(full_name(image), digest.clone());
        drop(state);
        progress(format!("{image}: digest: {digest}"));
        Ok(digest)
    }

    async fn pull(
        &self,
        image: &str,
        platform: Option<&str>,
        login: Option<&Login>,
        progress: &(dyn Fn(String) + Send + Sync),
        cancel: &Cancellation,
    ) -> Result<Pulled, RegistryError> {
        if cancel.is_cancelled() {
            return Err(RegistryError::Cancelled);
        }
        let (name, username) = (image.to_owned(), login.map(|login| login.username.clone()));
        let mut state =
            self.called(Some(Call::Pull { name, platform: platform.map(str::to_owned), username }))?;
        if let Some(error) = state.registry_errors.pop_front() {
            return Err(error);
        }
        let digest = state.published(image)?;
        let found = state.images.values().find(|found| digest_of(&found.id) == digest).cloned();
        let is_new = found.is_none();
        // What was removed here comes back as another image of the same manifest: the fake keeps no layers.
        let found = found.unwrap_or_else(|| {
            let id = Digest::of(digest.as_bytes()).to_string();
            let image = Image { id, tags: vec![full_name(image)], size: 1, labels: Vec::new() };
            state.put_image(image.clone());
            image
        });
        drop(state);
        progress(format!("Digest: {digest}"));
        Ok(Pulled { id: found.id, digest: Some(digest), is_new })
    }

    async fn find(&self, image: &str, _: Option<&Login>) -> Result<String, RegistryError> {
        self.called(None)?.published(image)
    }
}
