//! `containers`: `{privileged, network, mounts}`.

use yuanli_model::container::ContainerScope;

use super::{bounds_of, patterns};
use crate::diagnostic::{Code, Diagnostics};
use crate::key;
use crate::node::Entry;

const EXAMPLE: &str =
    "write `containers` alone for ordinary ones, or `{ containers: { mounts: [/srv/data] } }`";

/// The networks that can be granted. One of its own each container can have without.
const NETWORKS: [(&str, ()); 1] = [("host", ())];

/// What containers may be beyond ordinary ones. Everything that is wrong with it is told.
pub(super) fn read(entry: &Entry, diagnostics: &mut Diagnostics<'_>) -> Option<ContainerScope> {
    let entries = bounds_of(entry, EXAMPLE, &key::CONTAINERS_GRANT, diagnostics)?;
    let given = |key| key::given(entries, key);
    let is_privileged = match given("privileged") {
        None => Some(false),
        Some(flag) => key::boolean_of(flag, diagnostics),
    };
    let has_host_network = match given("network") {
        None => Some(false),
        Some(network) => key::word_of(network, &NETWORKS, diagnostics).map(|()| true),
    };
    let mounts = match given("mounts") {
        None => Some(Vec::new()),
        Some(mounts) => patterns(mounts, "a path", Code::InvalidPath, diagnostics),
    };
    Some(ContainerScope {
        is_privileged: is_privileged?,
        has_host_network: has_host_network?,
        mounts: mounts?,
    })
}
