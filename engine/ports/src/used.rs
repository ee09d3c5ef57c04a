//! Which images an attempt has to do with, so that it can be told later whether their names still stand for the same.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Names of images, each with the id of what it stands for; `None` for nothing.
pub type ImageNames = BTreeMap<String, Option<String>>;

/// The images that an attempt has used and made. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct UsedImages(Arc<Mutex<Used>>);

#[derive(Debug, Default)]
struct Used {
    names: ImageNames,
    /// Whether it is not known what all of them stood for.
    is_unsure: bool,
}

impl UsedImages {
    /// That the attempt has used what a name stands for: this id, or one that could not be found out. A name that stood for
    /// something else before, and not by the attempt's doing, cannot be told apart later.
    pub fn used(&self, name: &str, id: Option<String>) {
        let mut used = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = used.names.get(name);
        used.is_unsure |= id.is_none() || before.is_some_and(|before| *before != id);
        used.names.insert(name.to_owned(), id);
    }

    /// That the attempt has made a name stand for this id, or for nothing.
    pub fn made(&self, name: &str, id: Option<String>) {
        let mut used = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        used.names.insert(name.to_owned(), id);
    }

    /// That it is not known what it has used.
    pub fn lose(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_unsure = true;
    }

    /// All names and what they stood for in the end, if that is known.
    #[must_use]
    pub fn known(&self) -> Option<ImageNames> {
        let used = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (!used.is_unsure).then(|| used.names.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_somebody_else_moved_meanwhile_is_not_known() {
        let id = |id: &str| Some(id.to_owned());
        let images = UsedImages::default();
        images.used("tool", id("one"));
        images.used("tool", id("one"));
        assert_eq!(images.known(), Some(ImageNames::from([("tool".to_owned(), id("one"))])));
        images.made("tool", id("two"));
        images.used("tool", id("two"));
        images.made("gone", None);
        let names = [("gone".to_owned(), None), ("tool".to_owned(), id("two"))];
        assert_eq!(images.known(), Some(ImageNames::from(names)));
        images.used("tool", id("three"));
        assert_eq!(images.known(), None);
        let nobody_knows = UsedImages::default();
        nobody_knows.used("tool", None);
        assert_eq!(nobody_knows.known(), None);
    }
}
