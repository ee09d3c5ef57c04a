//! The one way in which a host function is declared and called.
//!
//! Each function has a [`Class`], which says what recording and replaying mean for it. Everything that is the same
//! for all host functions happens in here: the sealed store of `describe`, the position of operations, and for those that
//! are [recorded](Interface::recorded) what `journal.rs` does with the attempt's journal. The functions themselves know
//! nothing of it. Recorded today is what plugins keep with the engine; other reads and effects are declared with their
//! class, for when they are as well.

use std::fmt::Debug;
use std::pin::Pin;

use serde::Serialize;
use serde::de::DeserializeOwned;
use wasmtime::component::{ComponentNamedList, Lift, Linker, LinkerInstance, Lower, ResourceType};
use wasmtime::{AsContextMut, StoreContextMut};
use yuanli_ports::journal::Staged;

use crate::guest::{Guest, State};
use crate::journal;
use crate::rehearsal::HostCall;

/// What a call of a host function means for the attempt's journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Changes nothing that the guest could see; not recorded, dropped in a replay.
    Silent,
    /// Tells the guest something that may be different the next time; its result is recorded.
    Read,
    /// As [`Class::Read`], but what it tells is a secret: the record has the arguments only, and a replay asks again.
    Secret,
    /// Changes what the engine itself keeps; the same call of an attempt that is begun again finds its own outcome: by the
    /// attempt's journal, in one commit with the change, or, where something else owns what is changed (apps), by its
    /// operation id, with which the owner commits change and outcome.
    Local,
    /// Changes the outside world; has an operation id.
    Effect,
}

/// A host function as it was declared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Function {
    /// `package/interface@version`.
    pub interface: &'static str,
    /// Its name in the interface; methods as WIT mangles them.
    pub name: &'static str,
    /// Its class.
    pub class: Class,
}

impl std::fmt::Display for Function {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}#{}", self.interface, self.name)
    }
}

/// A capability was called where there is no attempt.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` was called while the component described itself; `describe` may not use capabilities")]
pub(crate) struct Sealed(&'static str);

/// What an asynchronous host function returns.
pub(crate) type Answer<'a, R> = Pin<Box<dyn Future<Output = R> + Send + 'a>>;

/// An interface that functions are being declared in.
pub(crate) struct Interface<'a> {
    name: &'static str,
    instance: LinkerInstance<'a, Guest>,
    declared: &'a mut Vec<Function>,
}

impl<'a> Interface<'a> {
    pub(crate) fn open(
        linker: &'a mut Linker<Guest>,
        name: &'static str,
        declared: &'a mut Vec<Function>,
    ) -> wasmtime::Result<Self> {
        Ok(Self { name, instance: linker.instance(name)?, declared })
    }

    /// Declares a function that answers at once.
    pub(crate) fn call<P, R>(
        &mut self,
        name: &'static str,
        class: Class,
        function: impl Fn(&mut State, P) -> R + Send + Sync + 'static,
    ) -> wasmtime::Result<&mut Self>
    where
        P: ComponentNamedList + Lift + Debug + Send + 'static,
        R: ComponentNamedList + Lower + Send + 'static,
    {
        let declared = self.declare(name, class);
        self.instance.func_wrap(name, move |mut store: StoreContextMut<'_, Guest>, parameters: P| {
            let state = begin(store.data_mut(), declared)?;
            state.note_unrecorded(declared);
            observe(state, declared, &parameters);
            let answer = function(state, parameters);
            state.check().map_err(wasmtime::Error::new)?;
            Ok(answer)
        })?;
        Ok(self)
    }

    /// Declares a function that waits for something.
    pub(crate) fn call_async<P, R>(
        &mut self,
        name: &'static str,
        class: Class,
        function: impl for<'s> Fn(&'s mut State, P) -> Answer<'s, R> + Send + Sync + Copy + 'static,
    ) -> wasmtime::Result<&mut Self>
    where
        P: ComponentNamedList + Lift + Debug + Send + 'static,
        R: ComponentNamedList + Lower + Send + 'static,
    {
        let declared = self.declare(name, class);
        self.instance.func_wrap_async(
            name,
            move |mut store: StoreContextMut<'_, Guest>, parameters: P| {
                Box::new(async move {
                    let state = begin(store.data_mut(), declared)?;
                    state.note_unrecorded(declared);
                    observe(state, declared, &parameters);
                    let answer = function(state, parameters).await;
                    // Time that went by in here is not the guest's: its next tick begins now.
                    store.as_context_mut().set_epoch_deadline(1);
                    let attempt = store.data().attempt.as_ref();
                    attempt.map_or(Ok(()), State::check).map_err(wasmtime::Error::new)?;
                    Ok(answer)
                })
            },
        )?;
        Ok(self)
    }

    /// Declares a function that is recorded in the attempt's journal: a [`Class::Local`] one, which decides what it changes
    /// and answers, and may be asked to decide again, or a [`Class::Read`] of what such functions change, which changes
    /// nothing. `show` says its arguments in short, for a person.
    pub(crate) fn recorded<P, R>(
        &mut self,
        name: &'static str,
        class: Class,
        show: impl Fn(&P) -> String + Send + Sync + Copy + 'static,
        decide: impl for<'s> Fn(&'s mut State, &'s P) -> Answer<'s, (R, Staged)> + Send + Sync + Copy + 'static,
    ) -> wasmtime::Result<&mut Self>
    where
        P: ComponentNamedList + Lift + Debug + Serialize + Send + Sync + 'static,
        R: ComponentNamedList + Lower + Serialize + DeserializeOwned + Send + 'static,
    {
        let declared = self.declare(name, class);
        self.instance.func_wrap_async(
            name,
            move |mut store: StoreContextMut<'_, Guest>, parameters: P| {
                Box::new(async move {
                    let state = begin(store.data_mut(), declared)?;
                    observe(state, declared, &parameters);
                    let shown = show(&parameters);
                    let answer = journal::perform(state, declared, (&parameters, shown), decide).await;
                    store.as_context_mut().set_epoch_deadline(1);
                    let attempt = store.data().attempt.as_ref();
                    attempt.map_or(Ok(()), State::check).map_err(wasmtime::Error::new)?;
                    answer.map_err(wasmtime::Error::new)
                })
            },
        )?;
        Ok(self)
    }

    /// Declares a resource of something that is there until the attempt ends. Dropping its handle does nothing: the end of
    /// the attempt cleans up, and until then it counts.
    pub(crate) fn resource<T: 'static>(&mut self, name: &'static str) -> wasmtime::Result<&mut Self> {
        self.owned::<T>(name, |_, _| ())
    }

    /// Declares a resource that is nothing beyond its handle; `forget` gives that back, so that it does not count any more.
    pub(crate) fn owned<T: 'static>(
        &mut self,
        name: &'static str,
        forget: impl Fn(&mut State, u32) + Send + Sync + 'static,
    ) -> wasmtime::Result<&mut Self> {
        let dropped = move |mut store: StoreContextMut<'_, Guest>, handle: u32| {
            if let Some(state) = &mut store.data_mut().attempt {
                forget(state, handle);
            }
            Ok(())
        };
        self.instance.resource(name, ResourceType::host::<T>(), dropped)?;
        Ok(self)
    }

    fn declare(&mut self, name: &'static str, class: Class) -> Function {
        let function = Function { interface: self.name, name, class };
        self.declared.push(function);
        function
    }
}

fn begin(guest: &mut Guest, function: Function) -> wasmtime::Result<&mut State> {
    let state = guest.attempt.as_mut().ok_or_else(|| wasmtime::Error::new(Sealed(function.name)))?;
    if matches!(function.class, Class::Local | Class::Effect) {
        state.begin_operation();
    }
    Ok(state)
}

/// Shows a call to who looks at it, before anything is done for it.
fn observe(state: &State, declared: Function, parameters: &impl Debug) {
    if let Some(rehearsal) = &state.rehearsal {
        let Function { interface, name: function, class } = declared;
        let arguments = format!("{parameters:?}");
        rehearsal.observer.called(&state.attempt, HostCall { interface, function, class, arguments });
    }
}
