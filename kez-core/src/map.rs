//! The core's one map. Every type of value would bring a tree of its own into a WebAssembly
//! module, which has to be small; here the tree is the same code for all of them.

use alloc::{boxed::Box, collections::BTreeMap, vec::Vec};

/// A map from bytes to values, which come out in the order in which they were put in.
#[derive(Clone, Debug)]
pub(crate) struct Map<V> {
    places: BTreeMap<Box<[u8]>, usize>,
    values: Vec<Option<V>>,
}

impl<V> Default for Map<V> {
    fn default() -> Self {
        Self { places: BTreeMap::new(), values: Vec::new() }
    }
}

impl<V> Map<V> {
    pub(crate) fn get(&self, key: impl AsRef<[u8]>) -> Option<&V> {
        self.values.get(*self.places.get(key.as_ref())?)?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, key: impl AsRef<[u8]>) -> Option<&mut V> {
        self.values.get_mut(*self.places.get(key.as_ref())?)?.as_mut()
    }

    pub(crate) fn contains(&self, key: impl AsRef<[u8]>) -> bool {
        self.get(key).is_some()
    }

    /// Puts a value in. Gives the one that was there.
    pub(crate) fn insert(&mut self, key: impl AsRef<[u8]>, value: V) -> Option<V> {
        let old = self.remove(&key);
        self.places.insert(key.as_ref().into(), self.values.len());
        self.values.push(Some(value));
        old
    }

    pub(crate) fn remove(&mut self, key: impl AsRef<[u8]>) -> Option<V> {
        self.values.get_mut(*self.places.get(key.as_ref())?)?.take()
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &V> {
        self.values.iter().flatten()
    }
}

impl<T> Map<Vec<T>> {
    /// Adds to the list of a key.
    pub(crate) fn push(&mut self, key: impl AsRef<[u8]>, item: T) {
        match self.get_mut(&key) {
            Some(list) => list.push(item),
            None => drop(self.insert(key, alloc::vec![item])),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_in_the_order_of_insertion() {
        let mut map = Map::default();
        assert_eq!(map.insert("b", 1), None);
        assert_eq!(map.insert("a", 2), None);
        assert_eq!(map.remove("b"), Some(1));
        assert_eq!((map.get("b"), map.values().count()), (None, 1));
        assert_eq!(map.insert("b", 3), None);
        assert_eq!(map.insert("a", 4), Some(2));
        assert_eq!(map.values().copied().collect::<Vec<_>>(), [3, 4]);
    }
}
