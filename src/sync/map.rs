//! What models have in place of papaya's map, whose insides no model checker can follow: a map whose
//! every operation happens at one instant, which is what papaya promises. A pass over all entries
//! looks at each of them at an instant of its own, and removes exactly what it has looked at.
//!
//! Orderings: an operation acquires what all operations before it released, papaya's only what those
//! on the same key did. So the models do not show what would be read of one key on the strength of
//! another; nothing is.

use std::cell::{Cell, OnceCell};
use std::collections::BTreeMap;
use std::sync::PoisonError;

use super::{Mutex, MutexGuard, yield_now};

thread_local! {
    /// The mistake that maps make in the models of this thread of the test.
    static MISTAKE: Cell<Mistake> = const { Cell::new(Mistake::None) };
}

/// What a map does wrong, so that models can be seen to notice.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mistake {
    None,
    /// Looks whether a key is there and inserts it, at two instants.
    InsertsLate,
    /// A pass over all entries removes what stands there, not what it has looked at.
    RemovesUnseen,
}

/// From now on, maps that are used in this thread make this mistake.
pub(crate) fn make(mistake: Mistake) {
    MISTAKE.set(mistake);
}

fn makes(mistake: Mistake) -> bool {
    MISTAKE.get() == mistake
}

/// How many values one [`Pinned`] can show.
const SHOWN_MAX: usize = 8;

#[derive(Debug)]
pub(crate) struct HashMap<K, V>(Mutex<BTreeMap<K, V>>);

/// The map, and the values that were seen through it.
pub(crate) struct Pinned<'m, K, V> {
    map: &'m HashMap<K, V>,
    shown: [OnceCell<V>; SHOWN_MAX],
}

/// The key was there already.
pub(crate) struct Occupied<'p, V> {
    pub(crate) current: &'p V,
}

impl<K: Ord, V> Default for HashMap<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: Ord, V> HashMap<K, V> {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(BTreeMap::new()))
    }

    pub(crate) fn pin(&self) -> Pinned<'_, K, V> {
        Pinned { map: self, shown: [const { OnceCell::new() }; SHOWN_MAX] }
    }

    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<K, V>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Ord + Clone, V: Copy + PartialEq> Pinned<'_, K, V> {
    pub(crate) fn len(&self) -> usize {
        self.map.len()
    }

    pub(crate) fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: std::borrow::Borrow<Q>,
    {
        let found = self.map.lock().get(key).copied();
        found.map(|value| self.show(value))
    }

    pub(crate) fn insert(&self, key: K, value: V) -> Option<&V> {
        let before = self.map.lock().insert(key, value);
        before.map(|value| self.show(value))
    }

    pub(crate) fn try_insert(&self, key: K, value: V) -> Result<(), Occupied<'_, V>> {
        let mut entries = self.map.lock();
        if let Some(&current) = entries.get(&key) {
            drop(entries);
            return Err(Occupied { current: self.show(current) });
        }
        if makes(Mistake::InsertsLate) {
            drop(entries);
            yield_now();
            entries = self.map.lock();
        }
        entries.insert(key, value);
        Ok(())
    }

    pub(crate) fn remove(&self, key: &K) {
        self.map.lock().remove(key);
    }

    pub(crate) fn retain(&self, mut keep: impl FnMut(&K, &V) -> bool) {
        let keys: Vec<K> = self.map.lock().keys().cloned().collect();
        for key in keys {
            loop {
                let Some(seen) = self.map.lock().get(&key).copied() else { break };
                if keep(&key, &seen) {
                    break;
                }
                let mut entries = self.map.lock();
                if entries.get(&key) == Some(&seen) || makes(Mistake::RemovesUnseen) {
                    entries.remove(&key);
                    break;
                }
            }
        }
    }

    fn show(&self, value: V) -> &V {
        let free = self.shown.iter().find(|cell| cell.get().is_none());
        free.expect("a model sees few values at a time").get_or_init(|| value)
    }
}
