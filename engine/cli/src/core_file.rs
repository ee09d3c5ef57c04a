//! What the system writes of a process that crashes: its memory, which may have secrets in it.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Has the system write none. Whoever wants one, to find a defect, can let the process have it again (`prlimit --core`).
pub(crate) fn forbid() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Core);
    // Nobody is kept from lowering a limit of their own.
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum });
}
