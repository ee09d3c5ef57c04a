//! What holds for every plugin, whatever it does: `description.rs` looks at what it says of itself, `behaviour.rs` at what it
//! does. Each check is a statement.

pub(crate) mod behaviour;
pub(crate) mod description;
