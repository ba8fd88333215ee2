//! Idempotency keys (skeleton)
#[derive(Debug)]
pub(super) struct KeyInFlight<'e>(std::marker::PhantomData<&'e ()>);
