//! The one way in which a host function is declared and called.
//!
//! Each function is declared with its [`Class`], and an effect with its [`Policy`], which say what recording and replaying
//! mean for it. Everything that is the same for all of a kind happens around them: the sealed store of `describe`, the
//! position of operations, and what `journal.rs` does with the attempt's journal. The functions themselves know nothing of
//! it: a new one has all of it by being declared.

use std::fmt::Debug;
use std::pin::Pin;

use serde::Serialize;
use serde::de::DeserializeOwned;
use wasmtime::component::{ComponentNamedList, Lift, Linker, LinkerInstance, Lower, Resource, ResourceType};
use wasmtime::{AsContextMut, StoreContextMut};
use yuanli_ports::journal::Staged;

use crate::argument::Arguments;
use crate::guest::{Guest, State};
use crate::journal::{self, Broken, Manner};
use crate::rehearsal::HostCall;
use crate::wait::{Waiting, wait};

/// What a call of a host function means for the attempt's journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Changes nothing that the guest could see; not recorded, made again in a replay.
    Silent,
    /// Tells the guest something that may be different the next time; its result is recorded.
    Read,
    /// As [`Class::Read`], but what it tells is a secret: the record has the arguments only, and a replay asks again.
    Secret,
    /// Changes what the engine itself keeps; the same call of an attempt that is begun again finds its own outcome: by the
    /// attempt's journal, in one commit with the change, or, where something else owns what is changed (apps), by its
    /// operation id, with which the owner commits change and outcome.
    Local,
    /// Changes the outside world; has an operation id. That it is to be made is recorded before, and after it what came of it.
    Effect,
}

/// What becomes of a call that was to be made and of which nobody knows whether it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// What carries its operation id is looked for and taken; where there is none, the call is made.
    Adopt,
    /// It is made again: twice is the same as once.
    Redo,
    /// It is made again, and only the attempt's own files are different for it, which nobody else has: that it is to be made
    /// is not recorded.
    Files,
    /// It is not made again: the attempt ends as interrupted.
    Once,
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
    /// Of one that is done outside of the journal's own commit; [`Policy::Once`] is only for those calls that cannot be
    /// made again.
    pub policy: Option<Policy>,
    /// Whether it waits for something outside, so that the instance of who calls it can be given up meanwhile.
    pub is_wait: bool,
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

/// What there is to know of a handle, when it is opened.
pub(crate) struct Opened<T> {
    pub(crate) handle: u32,
    pub(crate) what: T,
    /// Whether it was opened before the attempt was begun again.
    pub(crate) is_again: bool,
}

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

    /// Declares a [`Class::Silent`] function.
    pub(crate) fn silent<P, R>(
        &mut self,
        name: &'static str,
        function: impl Fn(&mut State, P) -> R + Send + Sync + 'static,
    ) -> wasmtime::Result<&mut Self>
    where
        P: ComponentNamedList + Lift + Debug + Send + 'static,
        R: ComponentNamedList + Lower + Send + 'static,
    {
        let declared = self.declare(name, Class::Silent, None);
        self.instance.func_wrap(name, move |mut store: StoreContextMut<'_, Guest>, parameters: P| {
            let state = begin(store.data_mut(), declared)?;
            observe(state, declared, &parameters);
            let answer = function(state, parameters);
            state.check().map_err(wasmtime::Error::new)?;
            Ok(answer)
        })?;
        Ok(self)
    }

    /// Declares a [`Class::Read`] function.
    pub(crate) fn read<P, R>(
        &mut self,
        name: &'static str,
        function: impl for<'s> Fn(&'s mut State, P) -> Answer<'s, R> + Send + Sync + Copy + 'static,
    ) -> wasmtime::Result<&mut Self>
    where
        P: ComponentNamedList + Lift + Debug + Arguments + Send + 'static,
        R: ComponentNamedList + Lower + Serialize + DeserializeOwned + Send + Sync + 'static,
    {
        let declared = self.declare(name, Class::Read, None);
        self.recorded(declared, |_| Manner::Read, function, |_, _, _| ())
    }

    /// Declares a [`Class::Read`] function that answers at once.
    pub(crate) fn read_now<P, R>(
        &mut self,
        name: &'static str,
        function: impl Fn(&mut State, P) -> R + Send + Sync + Copy + 'static,
    ) -> wasmtime::Result<&mut Self>
    where
        P: ComponentNamedList + Lift + Debug + Arguments + Send + 'static,
        R: ComponentNamedList + Lower + Serialize + DeserializeOwned + Send + Sync + 'static,
    {
        self.read(name, move |state: &mut State, parameters: P| {
            let answer = function(state, parameters);
            Box::pin(std::future::ready(answer))
        })
    }

    /// Declares a [`Class::Read`] function that waits for something outside. What it waits for knows nothing of the instance,
    /// which may be gone meanwhile.
    pub(crate) fn waits<P, R>(
        &mut self,
        name: &'static str,
        begin: impl Fn(&mut State, P) -> Waiting<R> + Send + Sync + Copy + 'static,
    ) -> wasmtime::Result<&mut Self>
    where
        P: ComponentNamedList + Lift + Debug + Arguments + Send + 'static,
        R: ComponentNamedList + Lower + Serialize + DeserializeOwned + Send + Sync + 'static,
    {
        self.waits_noting(name, begin, |_, _, _| ())
    }

    /// The same of a handle; `note` is told each answer, whether it was waited for or recorded, for what the engine has to
    /// know of it.
    pub(crate) fn waits_noting<P, R>(
        &mut self,
        name: &'static str,
        begin: impl Fn(&mut State, P) -> Waiting<R> + Send + Sync + Copy + 'static,
        note: impl Fn(&mut State, Option<u32>, &R) + Send + Sync + Copy + 'static,
    ) -> wasmtime::Result<&mut Self>
    where
        P: ComponentNamedList + Lift + Debug + Arguments + Send + 'static,
        R: ComponentNamedList + Lower + Serialize + DeserializeOwned + Send + Sync + 'static,
    {
        self.waiting(name, |_| Manner::Read, begin, note)
    }

    /// The same for a time which follows from its arguments and from when it was called. When that is far away, that it was
    /// called is recorded, so that nobody waits longer for a crash.
    pub(crate) fn waits_until<P, R>(
        &mut self,
        name: &'static str,
        is_far: impl Fn(&P) -> bool + Send + Sync + Copy + 'static,
        begin: impl Fn(&mut State, P) -> Waiting<R> + Send + Sync + Copy + 'static,
    ) -> wasmtime::Result<&mut Self>
    where
        P: ComponentNamedList + Lift + Debug + Arguments + Send + 'static,
        R: ComponentNamedList + Lower + Serialize + DeserializeOwned + Send + Sync + 'static,
    {
        let manner = move |parameters: &P| if is_far(parameters) { Manner::Wait } else { Manner::Read };
        self.waiting(name, manner, begin, |_, _, _| ())
    }

    /// Declares a [`Class::Secret`] function.
    pub(crate) fn secret<P, R>(
        &mut self,
        name: &'static str,
        function: impl Fn(&mut State, P) -> R + Send + Sync + Copy + 'static,
    ) -> wasmtime::Result<&mut Self>
    where
        P: ComponentNamedList + Lift + Debug + Arguments + Send + 'static,
        R: ComponentNamedList + Lower + Serialize + DeserializeOwned + Send + Sync + 'static,
    {
        let declared = self.declare(name, Class::Secret, None);
        self.recorded(
            declared,
            |_| Manner::Secret,
            move |state: &mut State, parameters: P| {
                let answer = function(state, parameters);
                Box::pin(std::future::ready(answer))
            },
            |_, _, _| (),
        )
    }

    /// Declares a [`Class::Effect`] function.
    pub(crate) fn effect<P, R>(
        &mut self,
        name: &'static str,
        policy: Policy,
        function: impl for<'s> Fn(&'s mut State, P) -> Answer<'s, R> + Send + Sync + Copy + 'static,
    ) -> wasmtime::Result<&mut Self>
    where
        P: ComponentNamedList + Lift + Debug + Arguments + Send + 'static,
        R: ComponentNamedList + Lower + Serialize + DeserializeOwned + Send + Sync + 'static,
    {
        let declared = self.declare(name, Class::Effect, Some(policy));
        self.recorded(declared, move |_| Manner::Effect(policy), function, |_, _, _| ())
    }

    /// Declares a [`Class::Effect`] function some calls of which can be made again, and others not.
    pub(crate) fn effect_once<P, R>(
        &mut self,
        name: &'static str,
        may_repeat: impl Fn(&P) -> bool + Send + Sync + Copy + 'static,
        function: impl for<'s> Fn(&'s mut State, P) -> Answer<'s, R> + Send + Sync + Copy + 'static,
    ) -> wasmtime::Result<&mut Self>
    where
        P: ComponentNamedList + Lift + Debug + Arguments + Send + 'static,
        R: ComponentNamedList + Lower + Serialize + DeserializeOwned + Send + Sync + 'static,
    {
        let declared = self.declare(name, Class::Effect, Some(Policy::Once));
        let manner = move |parameters: &P| match may_repeat(parameters) {
            true => Manner::Effect(Policy::Redo),
            false => Manner::Effect(Policy::Once),
        };
        self.recorded(declared, manner, function, |_, _, _| ())
    }

    /// Declares a [`Class::Local`] function whose change somebody else owns, who commits it with its operation id.
    pub(crate) fn owned_change<P, R>(
        &mut self,
        name: &'static str,
        function: impl for<'s> Fn(&'s mut State, P) -> Answer<'s, R> + Send + Sync + Copy + 'static,
    ) -> wasmtime::Result<&mut Self>
    where
        P: ComponentNamedList + Lift + Debug + Arguments + Send + 'static,
        R: ComponentNamedList + Lower + Serialize + DeserializeOwned + Send + Sync + 'static,
    {
        let declared = self.declare(name, Class::Local, Some(Policy::Adopt));
        self.recorded(declared, |_| Manner::Effect(Policy::Adopt), function, |_, _, _| ())
    }

    /// Declares a [`Class::Local`] function that decides what it changes and answers, and may be asked to decide again.
    pub(crate) fn local<P, R>(
        &mut self,
        name: &'static str,
        decide: impl for<'s> Fn(&'s mut State, &'s P) -> Answer<'s, (R, Staged)> + Send + Sync + Copy + 'static,
    ) -> wasmtime::Result<&mut Self>
    where
        P: ComponentNamedList + Lift + Debug + Arguments + Send + Sync + 'static,
        R: ComponentNamedList + Lower + Serialize + DeserializeOwned + Send + Sync + 'static,
    {
        let declared = self.declare(name, Class::Local, None);
        self.instance.func_wrap_async(
            name,
            move |mut store: StoreContextMut<'_, Guest>, parameters: P| {
                Box::new(async move {
                    let state = begin(store.data_mut(), declared)?;
                    observe(state, declared, &parameters);
                    let answer = journal::decide(state, declared, &parameters, decide).await;
                    end(&mut store, answer)
                })
            },
        )?;
        Ok(self)
    }

    /// Declares a function that opens a handle, or says why not. `open` does it, or finds what there is to open; `note`
    /// remembers what the handle stands for, now or when the attempt was begun again.
    pub(crate) fn opens<P, H, T, E>(
        &mut self,
        name: &'static str,
        (class, policy): (Class, Option<Policy>),
        open: impl for<'s> Fn(&'s mut State, &'s P) -> Answer<'s, Result<T, E>> + Send + Sync + Copy + 'static,
        note: impl Fn(&mut State, &P, Opened<T>) + Send + Sync + Copy + 'static,
    ) -> wasmtime::Result<&mut Self>
    where
        P: ComponentNamedList + Lift + Debug + Arguments + Send + Sync + 'static,
        H: 'static,
        T: Serialize + DeserializeOwned + Clone + Send + Sync + 'static,
        E: Serialize + DeserializeOwned + Send + Sync + 'static,
        (Result<Resource<H>, E>,): ComponentNamedList + Lower + Send + 'static,
    {
        let declared = self.declare(name, class, policy);
        let manner = policy.map_or(Manner::Read, Manner::Effect);
        self.instance.func_wrap_async(
            name,
            move |mut store: StoreContextMut<'_, Guest>, parameters: P| {
                Box::new(async move {
                    let state = begin(store.data_mut(), declared)?;
                    observe(state, declared, &parameters);
                    let opened = journal::open(state, (declared, manner), &parameters, open, note).await;
                    end(&mut store, opened.map(|opened| (opened.map(Resource::new_own),)))
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

    fn waiting<P, R>(
        &mut self,
        name: &'static str,
        manner: impl Fn(&P) -> Manner + Send + Sync + Copy + 'static,
        begin: impl Fn(&mut State, P) -> Waiting<R> + Send + Sync + Copy + 'static,
        note: impl Fn(&mut State, Option<u32>, &R) + Send + Sync + Copy + 'static,
    ) -> wasmtime::Result<&mut Self>
    where
        P: ComponentNamedList + Lift + Debug + Arguments + Send + 'static,
        R: ComponentNamedList + Lower + Serialize + DeserializeOwned + Send + Sync + 'static,
    {
        let function =
            Function { interface: self.name, name, class: Class::Read, policy: None, is_wait: true };
        self.declared.push(function);
        self.recorded(function, manner, move |state, parameters| wait(state, parameters, begin), note)
    }

    fn recorded<P, R>(
        &mut self,
        declared: Function,
        manner: impl Fn(&P) -> Manner + Send + Sync + Copy + 'static,
        function: impl for<'s> Fn(&'s mut State, P) -> Answer<'s, R> + Send + Sync + Copy + 'static,
        note: impl Fn(&mut State, Option<u32>, &R) + Send + Sync + Copy + 'static,
    ) -> wasmtime::Result<&mut Self>
    where
        P: ComponentNamedList + Lift + Debug + Arguments + Send + 'static,
        R: ComponentNamedList + Lower + Serialize + DeserializeOwned + Send + Sync + 'static,
    {
        self.instance.func_wrap_async(
            declared.name,
            move |mut store: StoreContextMut<'_, Guest>, parameters: P| {
                Box::new(async move {
                    let state = begin(store.data_mut(), declared)?;
                    observe(state, declared, &parameters);
                    let manner = manner(&parameters);
                    let handle = parameters.handle();
                    let answer = journal::call(state, (declared, manner), parameters, function).await;
                    if let Ok(answer) = &answer {
                        note(state, handle, answer);
                    }
                    end(&mut store, answer)
                })
            },
        )?;
        Ok(self)
    }

    fn declare(&mut self, name: &'static str, class: Class, policy: Option<Policy>) -> Function {
        let function = Function { interface: self.name, name, class, policy, is_wait: false };
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

/// Ends a call that may have waited for something.
fn end<R>(store: &mut StoreContextMut<'_, Guest>, answer: Result<R, Broken>) -> wasmtime::Result<R> {
    // Time that went by in here is not the guest's: its next tick begins now.
    store.as_context_mut().set_epoch_deadline(1);
    let attempt = store.data().attempt.as_ref();
    attempt.map_or(Ok(()), State::check).map_err(wasmtime::Error::new)?;
    answer.map_err(wasmtime::Error::new)
}

/// Shows a call to who looks at it, before anything is done for it.
fn observe(state: &State, declared: Function, parameters: &impl Debug) {
    if let Some(rehearsal) = &state.rehearsal {
        let Function { interface, name: function, class, .. } = declared;
        let arguments = format!("{parameters:?}");
        rehearsal.observer.called(&state.attempt, HostCall { interface, function, class, arguments });
    }
}
