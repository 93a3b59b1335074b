//! What a source has handed out and what of it was delivered: the checkpoint may go no further.
//! Stores nothing.

use std::collections::VecDeque;
use std::sync::Arc;

/// Places that are kept apart; beyond, neighbours are merged and the checkpoint moves in larger steps.
const PLACES: usize = 4096;

/// The places behind each batch, in order, and who still works on what came before them.
#[derive(Debug)]
pub struct Positions<P> {
    places: VecDeque<(P, Vec<Arc<()>>)>,
}

impl<P> Default for Positions<P> {
    fn default() -> Self {
        Self { places: VecDeque::new() }
    }
}

impl<P> Positions<P> {
    /// Enters a batch that ends at this place. It is delivered when nobody else holds `hold` any more.
    pub fn enter(&mut self, place: P, hold: Arc<()>) {
        if self.places.len() >= PLACES
            && let Some(last) = self.places.back_mut()
        {
            last.0 = place;
            last.1.retain(|hold| Arc::strong_count(hold) > 1);
            last.1.push(hold);
            return;
        }
        self.places.push_back((place, vec![hold]));
    }

    /// The place up to which everything was delivered, if that is news.
    pub fn delivered(&mut self) -> Option<P> {
        let mut delivered = None;
        while let Some((_, holds)) = self.places.front()
            && holds.iter().all(|hold| Arc::strong_count(hold) == 1)
        {
            delivered = self.places.pop_front().map(|(place, _)| place);
        }
        delivered
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_delivered_before_what_came_earlier() {
        let mut positions = Positions::default();
        let holds: Vec<_> = (0..4).map(|_| Arc::new(())).collect();
        holds.iter().enumerate().for_each(|(place, hold)| positions.enter(place, Arc::clone(hold)));
        let mut holds: Vec<_> = holds.into_iter().map(Some).collect();
        assert_eq!(positions.delivered(), None);
        holds[1] = None;
        assert_eq!(positions.delivered(), None);
        holds[0] = None;
        assert_eq!(positions.delivered(), Some(1));
        holds[3] = None;
        assert_eq!(positions.delivered(), None);
        holds[2] = None;
        assert_eq!(positions.delivered(), Some(3));
    }

    #[test]
    fn a_stuck_delivery_costs_bounded_memory() {
        let mut positions = Positions::default();
        let stuck = Arc::new(());
        positions.enter(0, Arc::clone(&stuck));
        (1..3 * PLACES).for_each(|place| positions.enter(place, Arc::new(())));
        assert!(positions.places.len() <= PLACES);
        assert!(positions.places.back().unwrap().1.len() <= 2);
        drop(stuck);
        assert_eq!(positions.delivered(), Some(3 * PLACES - 1));
    }
}
