//! `booking-load compare`: booking-manager, a bare server, PostgreSQL and Redis, in turns.
//!
//! **Invariant:** all contenders get the same requests from the same generator on the same machine,
//! and none runs beside another. A rate counts only if its turn was honest: what was acknowledged is
//! stored, and a seat that was taken is refused.
//!
//! Reading order: a [`contender`] is what takes part, with [`programs`] to start it by; a [`turn`] is
//! started ([`booking`], [`postgres`], [`redis`], each a [`child`]), put under load and held against
//! what is [`stored`]; [`summary`] makes figures of all turns, [`table`] and [`chart`] show them.
//! [`front`] is the front end, which is this program again, as a process of its own.

mod booking;
mod chart;
mod child;
mod contender;
mod front;
mod postgres;
mod programs;
mod raw_sync;
mod redis;
mod stored;
mod summary;
mod table;
mod turn;

use std::io::Write;
use std::sync::atomic::Ordering;

use anyhow::ensure;

use crate::Status;
use crate::output::Output;

use super::arguments::{Compare, Front};
use super::run::stopped_by_signals;

use contender::Contender;
use programs::Programs;
use summary::Summary;
use turn::Conditions;

/// Lets all contenders take their turns, and tells what came of it.
pub(super) fn compare(order: &Compare, output: &mut Output<impl Write>) -> anyhow::Result<Status> {
    let programs = Programs::find(order.server.as_deref())?;
    let stop = stopped_by_signals()?;
    let conditions = Conditions { order, programs: &programs, stop: &stop };
    let mut present: Vec<Contender> = Contender::ALL.to_vec();
    present.retain(|contender| contender.missing(order, &programs).is_none());
    let mut turns = Vec::new();
    for round in 0..order.rounds {
        for contender in &present {
            turns.push(turn::take(&conditions, *contender, round)?);
            ensure!(!stop.load(Ordering::Relaxed), "it was stopped before all had their turns");
        }
        // Another one is the first in the next round.
        present.rotate_left(1);
    }
    let summary = Summary::of(order, &programs, &turns);
    if let Some(path) = &order.plot {
        chart::write_file(path, &summary)?;
    }
    if order.json {
        output.json(&summary)?;
    } else {
        table::write(&summary, output)?;
    }
    Ok(if summary.is_sound() { Status::Sound } else { Status::Damaged })
}

/// Is a front end until it is ended.
pub(super) fn front(front: &Front) -> anyhow::Result<()> {
    front::serve(front)
}
