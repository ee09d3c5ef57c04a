//! What is left outside.

use crate::world::World;

/// When the last life of the engine that had something to do has come to its end in peace: what Docker was asked in time is
/// cleared away without another start.
pub(crate) fn check_last_life(world: &World) {
    if world.faults.docker > 0 || world.faults.store > 0 {
        return;
    }
    for name in world.docker.containers() {
        let is_late = world.ledger().containers.get(&name).is_some_and(|found| found.is_late);
        if !is_late {
            world.accuse(format!("the container {name} is left"));
        }
    }
}

/// After one more start.
pub(super) fn check(world: &World) {
    for name in world.docker.containers() {
        world.accuse(format!("the container {name} is left for good"));
    }
    let mut twice = Vec::new();
    for (operation, container) in &world.ledger().containers {
        if container.launches > 1 {
            twice.push(format!("{operation} was started {} times", container.launches));
        }
    }
    twice.into_iter().for_each(|what| world.accuse(what));
}
