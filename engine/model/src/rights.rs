//! What a plugin may do in a stage: what it imports, as far as the stage grants it.

use crate::container::ContainerScope;
use crate::grant::Access;
use crate::http::HttpScope;
use crate::volume::VolumeScope;
use crate::{Capability, Grant};

/// The rights of a plugin in a stage. What a stage grants of a right stands in place of what a plugin that came with the
/// engine has of it by itself; several grants of a right allow what any of them allows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rights {
    /// Requests within any of these.
    pub http: Vec<HttpScope>,
    /// What it may do in the workspace; `None` when it has no right to it.
    pub workspace: Option<Access>,
    /// What its containers may be beyond ordinary ones.
    pub containers: ContainerScope,
    /// Volumes within any of these.
    pub volumes: Vec<VolumeScope>,
}

impl Rights {
    /// The rights of a plugin that imports these, with these grants.
    #[must_use]
    pub fn new(imports: &[Capability], is_builtin: bool, grants: &[Grant]) -> Self {
        let mut rights = Self::default();
        grants.iter().for_each(|grant| rights.add(grant));
        if is_builtin {
            let is_granted = |right: &&Capability| grants.iter().any(|grant| grant.capability() == **right);
            imports
                .iter()
                .filter(|right| !is_granted(right))
                .for_each(|right| rights.add(&Grant::Whole(*right)));
        }
        rights
    }

    fn add(&mut self, grant: &Grant) {
        match grant {
            Grant::Http(scope) => self.http.push(scope.clone()),
            Grant::Workspace(access) => self.workspace = self.workspace.max(Some(*access)),
            Grant::Whole(Capability::Workspace) => self.workspace = Some(Access::ReadWrite),
            Grant::Containers(scope) => self.containers = std::mem::take(&mut self.containers).or(scope),
            Grant::Volumes(scope) => self.volumes.push(scope.clone()),
            Grant::Whole(Capability::Volumes) => self.volumes.push(VolumeScope::default()),
            Grant::Whole(_) => {}
        }
    }

    /// Whether the workspace may be changed. A plugin without any right to it changes it only through others, such as
    /// `source`, whose right that is.
    #[must_use]
    pub fn may_write_workspace(&self) -> bool {
        self.workspace != Some(Access::Read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IMPORTS: [Capability; 3] = [Capability::Workspace, Capability::Containers, Capability::Volumes];

    #[test]
    fn what_came_with_the_engine_has_what_it_imports_and_what_is_granted_stands_in_its_place() {
        let read = Grant::Workspace(Access::Read);
        let own = Rights::new(&IMPORTS, true, &[]);
        assert_eq!((own.workspace, own.volumes.len()), (Some(Access::ReadWrite), 1));
        assert!(own.containers.is_empty() && own.may_write_workspace());
        let narrowed = Rights::new(&IMPORTS, true, std::slice::from_ref(&read));
        assert_eq!((narrowed.workspace, narrowed.volumes.len()), (Some(Access::Read), 1));
        assert!(!narrowed.may_write_workspace());
        let none = Rights::new(&IMPORTS, false, &[]);
        assert_eq!((none.workspace, none.volumes.len()), (None, 0));
    }

    #[test]
    fn several_grants_allow_what_any_of_them_allows() {
        let grants = [
            Grant::Workspace(Access::Read),
            Grant::Whole(Capability::Workspace),
            Grant::Containers(ContainerScope { is_privileged: true, ..ContainerScope::default() }),
            Grant::Containers(ContainerScope { has_host_network: true, ..ContainerScope::default() }),
        ];
        let rights = Rights::new(&IMPORTS, false, &grants);
        assert_eq!(rights.workspace, Some(Access::ReadWrite));
        assert!(rights.containers.is_privileged && rights.containers.has_host_network);
        let reversed: Vec<Grant> = grants.into_iter().rev().collect();
        assert_eq!(Rights::new(&IMPORTS, false, &reversed), rights);
    }
}
