//! Models of the engine's protocols; how they are run is in [`crate::models`].
//!
//! The models run the real code of `slots`, `row`, `tally`, `table`, `user`, `idempotency` and `lanes`.
//! The log is replaced by one that can be read afterwards ([`ledger`]), papaya's map by one that the
//! model checkers understand ([`crate::sync::map`]). `whole` runs all of the engine on the real log.
//! Not modelled, since neither checker sees into them: the cells of `table` (`OnceBox`, `OnceLock`),
//! papaya and `arc-swap`; under the models each of their operations is one step.
//!
//! Mistakes are kept beside the models, as what the doubles do wrong when a control asks for it, or
//! a part of the model that stands for one of the code's: the tests that must panic. Others were made
//! by hand in the code of the slots, and found by the models of them: a slot taken from a living row,
//! a status word decided by a store (nearly all); a hold that counts as live while it is acquiring
//! (`nobody_is_refused_for_a_hold_that_never_was`); a lapsed hold that is overwritten without being
//! expired (`confirm_cancel_and_expiry_…`); counters changed after the fact alone, or a status word
//! read without acquire (`counters_show_…`).
//!
//! Nothing finds a late helper that does not look at its own word, and nothing could: it swaps a slot
//! from exactly the word whose row it has found dead, and dead is for good, so no live row leaves its
//! slot; and it decides nothing, since a decision swaps from `Acquiring`. At worst one dead row stands
//! in another's place, and a place in the log is voided. The look saves that work.

mod bookings;
mod keys;
mod lanes;
mod ledger;
mod slots;
mod users;

#[cfg(booking_shuttle)]
mod crowd;
#[cfg(booking_shuttle)]
mod whole;
