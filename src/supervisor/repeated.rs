//! A warning that others can bring about as often as they like: it is said at once, and then counted.

use std::time::{Duration, Instant};

use log::warn;

/// For how long it is only counted.
const INTERVAL: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub(crate) struct RepeatedWarning {
    /// When it was said.
    said: Option<Instant>,
    /// How often it was due since then, and how it went last.
    unsaid: Option<(u64, String)>,
}

impl RepeatedWarning {
    pub(crate) fn warn(&mut self, sentence: String) {
        if let Some(sentence) = self.note(Instant::now(), sentence) {
            warn!("{sentence}");
        }
    }

    /// When the count is to be said; none while there is none.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let _ = self.unsaid.as_ref()?;
        self.said.map(|said| said + INTERVAL)
    }

    /// Says the count when it is due.
    pub(crate) fn check_time(&mut self) {
        if let Some(sentence) = self.due(Instant::now()) {
            warn!("{sentence}");
        }
    }

    fn note(&mut self, now: Instant, sentence: String) -> Option<String> {
        let is_new = self.said.is_none_or(|said| now >= said + INTERVAL);
        if is_new && self.unsaid.is_none() {
            self.said = Some(now);
            return Some(sentence);
        }
        let count = self.unsaid.take().map_or(0, |(count, _)| count);
        self.unsaid = Some((count + 1, sentence));
        self.due(now)
    }

    fn due(&mut self, now: Instant) -> Option<String> {
        if now < self.said? + INTERVAL {
            return None;
        }
        let (count, sentence) = self.unsaid.take()?;
        self.said = Some(now);
        Some(match count {
            1 => sentence,
            _ => format!("{sentence} (one of {count} such warnings since the last)"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_said_at_once_and_the_others_are_counted() {
        let mut warning = RepeatedWarning::default();
        let start = Instant::now();
        let first = warning.note(start, "1 is wrong".to_owned());
        assert_eq!(first.as_deref(), Some("1 is wrong"));
        for number in 2..=4 {
            assert_eq!(warning.note(start, format!("{number} is wrong")), None);
        }
        let end = warning.deadline().unwrap();
        assert_eq!(warning.due(end - Duration::from_millis(1)), None);
        let counted = warning.due(end);
        let expected = "4 is wrong (one of 3 such warnings since the last)";
        assert_eq!(counted.as_deref(), Some(expected));
        assert_eq!(warning.deadline(), None);
        // The count was a warning, too.
        assert_eq!(warning.note(end, "5 is wrong".to_owned()), None);
        assert_eq!(warning.due(end + INTERVAL).as_deref(), Some("5 is wrong"));
        let later = end + 2 * INTERVAL;
        let again = warning.note(later, "6 is wrong".to_owned());
        assert_eq!(again.as_deref(), Some("6 is wrong"));
    }
}
