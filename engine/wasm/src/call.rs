//! The one way in which a host function is declared and called.
//!
//! Each function has a [`Class`], which says what recording and replaying mean for it. Everything that is the same
//! for all host functions happens in here: the sealed store of `describe`, the position of operations, and (with the
//! attempt journal) recording, replay and reconciliation. The functions themselves know nothing of it.

use std::pin::Pin;

use wasmtime::component::{ComponentNamedList, Lift, Linker, LinkerInstance, Lower, ResourceType};
use wasmtime::{AsContextMut, StoreContextMut};

use crate::guest::{Guest, State};

/// What a call of a host function means for the attempt's journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Changes nothing that the guest could see; not recorded, dropped in a replay.
    Silent,
    /// Tells the guest something that may be different the next time; its result is recorded.
    Read,
    /// As [`Class::Read`], but what it tells is a secret: the record has the arguments only, and a replay asks again.
    Secret,
    /// Changes what the engine itself keeps; has an operation id, by which the same call finds its own outcome.
    Local,
    /// Changes the outside world; has an operation id.
    Effect,
}

/// A host function as it was declared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Function {
    /// `package/interface@version`.
    pub interface: &'static str,
    /// Its name in the interface; methods as WIT mangles them.
    pub name: &'static str,
    /// Its class.
    pub class: Class,
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
        P: ComponentNamedList + Lift + Send + 'static,
        R: ComponentNamedList + Lower + Send + 'static,
    {
        self.declare(name, class);
        self.instance.func_wrap(name, move |mut store: StoreContextMut<'_, Guest>, parameters: P| {
            let state = begin(store.data_mut(), name, class)?;
            let answer = function(state, parameters);
            state.lines.check().map_err(wasmtime::Error::new)?;
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
        P: ComponentNamedList + Lift + Send + 'static,
        R: ComponentNamedList + Lower + Send + 'static,
    {
        self.declare(name, class);
        self.instance.func_wrap_async(
            name,
            move |mut store: StoreContextMut<'_, Guest>, parameters: P| {
                Box::new(async move {
                    let answer = function(begin(store.data_mut(), name, class)?, parameters).await;
                    // Time that went by in here is not the guest's: its next tick begins now.
                    store.as_context_mut().set_epoch_deadline(1);
                    Ok(answer)
                })
            },
        )?;
        Ok(self)
    }

    /// Declares a resource. Dropping its handle does nothing: the end of the attempt cleans up.
    pub(crate) fn resource<T: 'static>(&mut self, name: &'static str) -> wasmtime::Result<&mut Self> {
        self.instance.resource(name, ResourceType::host::<T>(), |_, _| Ok(()))?;
        Ok(self)
    }

    fn declare(&mut self, name: &'static str, class: Class) {
        self.declared.push(Function { interface: self.name, name, class });
    }
}

fn begin<'s>(guest: &'s mut Guest, name: &'static str, class: Class) -> wasmtime::Result<&'s mut State> {
    let state = guest.attempt.as_mut().ok_or_else(|| wasmtime::Error::new(Sealed(name)))?;
    if matches!(class, Class::Local | Class::Effect) {
        state.begin_operation();
    }
    Ok(state)
}
