//! `volumes`: `{names, remove}`.

use yuanli_model::volume::VolumeScope;

use super::{bounds_of, patterns};
use crate::diagnostic::{Code, Diagnostics};
use crate::key;
use crate::node::Entry;

const EXAMPLE: &str = "write `volumes` alone for all of them, or `{ volumes: { names: [cache] } }`";

/// Which volumes. Everything that is wrong with it is told.
pub(super) fn read(entry: &Entry, diagnostics: &mut Diagnostics<'_>) -> Option<VolumeScope> {
    let entries = bounds_of(entry, EXAMPLE, &key::VOLUMES_GRANT, diagnostics)?;
    let given = |key| key::given(entries, key);
    let names = match given("names") {
        None => Some(Vec::new()),
        Some(names) => patterns(names, "a name", Code::InvalidName, diagnostics),
    };
    let may_remove = match given("remove") {
        None => Some(false),
        Some(flag) => key::boolean_of(flag, diagnostics),
    };
    Some(VolumeScope { names: names?, may_remove: may_remove? })
}
