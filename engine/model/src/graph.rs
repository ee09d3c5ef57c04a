//! The directed acyclic graph of a workflow's stages, by index.
//!
//! Stages are numbered in the order of the document. Built once, by [`crate::Workflow`]; a [`Graph`] has no cycle.

/// Who needs whom, in both directions, and an order that respects it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Graph {
    needs: Vec<Vec<usize>>,
    dependents: Vec<Vec<usize>>,
    order: Vec<usize>,
}

/// The nodes of a cycle, each needed by the one before it; the last one needs the first.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the graph has a cycle")]
pub struct Cycle(pub Vec<usize>);

impl Graph {
    /// A graph from the list of needs of each node; duplicates among the needs of one node are dropped.
    ///
    /// # Errors
    /// The first cycle found, in the order of the nodes.
    ///
    /// # Panics
    /// When a need is no index of `needs`: the caller has resolved names to indexes.
    pub fn new(mut needs: Vec<Vec<usize>>) -> Result<Self, Cycle> {
        let mut dependents = vec![Vec::new(); needs.len()];
        for (node, needed) in needs.iter_mut().enumerate() {
            let mut seen = std::collections::HashSet::new();
            needed.retain(|need| seen.insert(*need));
            for need in needed.iter() {
                dependents[*need].push(node);
            }
        }
        let mut missing: Vec<usize> = needs.iter().map(Vec::len).collect();
        let mut order: Vec<usize> = (0..needs.len()).filter(|node| missing[*node] == 0).collect();
        let mut next = 0;
        while let Some(&node) = order.get(next) {
            next += 1;
            for &dependent in &dependents[node] {
                missing[dependent] -= 1;
                if missing[dependent] == 0 {
                    order.push(dependent);
                }
            }
        }
        if order.len() == needs.len() {
            Ok(Self { needs, dependents, order })
        } else {
            Err(find_cycle(&needs, &missing))
        }
    }

    /// How many nodes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.needs.len()
    }

    /// Whether there is no node.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.needs.is_empty()
    }

    /// What `node` needs directly.
    #[must_use]
    pub fn needs(&self, node: usize) -> &[usize] {
        &self.needs[node]
    }

    /// What needs `node` directly.
    #[must_use]
    pub fn dependents(&self, node: usize) -> &[usize] {
        &self.dependents[node]
    }

    /// Every node after all that it needs.
    #[must_use]
    pub fn order(&self) -> &[usize] {
        &self.order
    }

    /// Whether `node` needs `other`, directly or through others. Walks at most the ancestors of `node`.
    #[must_use]
    pub fn is_after(&self, node: usize, other: usize) -> bool {
        let mut seen = vec![false; self.len()];
        let mut open = vec![node];
        while let Some(current) = open.pop() {
            for &need in &self.needs[current] {
                if need == other {
                    return true;
                }
                if !std::mem::replace(&mut seen[need], true) {
                    open.push(need);
                }
            }
        }
        false
    }
}

/// Every node with a missing need leads into a cycle: follow unresolved needs until a node comes again.
fn find_cycle(needs: &[Vec<usize>], missing: &[usize]) -> Cycle {
    let unresolved = |node: usize| needs[node].iter().copied().find(|need| missing[*need] > 0);
    let mut path: Vec<usize> = Vec::new();
    let mut current = missing.iter().position(|count| *count > 0);
    while let Some(node) = current {
        if let Some(begin) = path.iter().position(|seen| *seen == node) {
            return Cycle(path.split_off(begin));
        }
        path.push(node);
        current = unresolved(node);
    }
    Cycle(path)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_cycle_is_printed_from_need_to_need() {
        // 0 -> 1 -> 2 -> 3 -> 1, and 4 stands alone.
        let needs = vec![vec![1], vec![2], vec![3], vec![1], vec![]];
        assert_eq!(Graph::new(needs), Err(Cycle(vec![1, 2, 3])));
        assert_eq!(Graph::new(vec![vec![0]]), Err(Cycle(vec![0])));
    }

    #[test]
    fn duplicate_needs_count_once() {
        let graph = Graph::new(vec![vec![], vec![0, 0]]).expect("no cycle");
        assert_eq!(graph.needs(1), [0]);
        assert_eq!(graph.dependents(0), [1]);
    }

    proptest! {
        #[test]
        fn the_order_respects_every_need(edges in proptest::collection::vec((0usize..30, 0usize..30), 0..120)) {
            let mut needs = vec![Vec::new(); 30];
            for (a, b) in edges {
                if a != b {
                    needs[a.max(b)].push(a.min(b));
                }
            }
            let graph = Graph::new(needs).expect("needs point to smaller nodes only");
            let position = |node| graph.order().iter().position(|n| *n == node).expect("in the order");
            for node in 0..graph.len() {
                for need in graph.needs(node) {
                    prop_assert!(position(*need) < position(node));
                    prop_assert!(graph.is_after(node, *need));
                    prop_assert!(!graph.is_after(*need, node));
                }
            }
        }
    }
}
