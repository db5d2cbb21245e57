//! What happened in a world, and what the fleet did: for people to read.

use core::fmt;

use crate::fleet::{Effect, Event, Time};

#[derive(Clone, Debug, Default)]
pub(super) struct History(Vec<(Time, Event, Vec<Effect>)>);

impl History {
    pub(super) fn push(&mut self, at: Time, event: Event, effects: Vec<Effect>) {
        self.0.push((at, event, effects));
    }
}

impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, event, effects) in &self.0 {
            if is_dull(event) && effects.iter().all(is_look) {
                continue;
            }
            writeln!(f, "{:>7} ms  {}", at.0.as_millis(), plain(event))?;
            for effect in effects {
                writeln!(f, "             -> {}", plain(effect))?;
            }
        }
        Ok(())
    }
}

/// Looks that show nothing new would be most of a history.
fn is_dull(event: &Event) -> bool {
    matches!(
        event,
        Event::TimePassed | Event::BacklogsMeasured { .. } | Event::ConnectionsMeasured { .. }
    )
}

fn is_look(effect: &Effect) -> bool {
    matches!(
        effect,
        Effect::Probe(_) | Effect::MeasureBacklogs { .. } | Effect::MeasureConnections { .. }
    )
}

/// As it is debugged, but without the names that only say again what the field's name says.
fn plain(what: &impl fmt::Debug) -> String {
    let mut text = format!("{what:?}");
    for wrapper in [
        "WorkerId(",
        "Slot(",
        "ListenerSetId(",
        "Generation(",
        "ListenerId(",
        "ClientId(",
    ] {
        while let Some(start) = text.find(wrapper) {
            let end = text[start..]
                .find(')')
                .map_or(text.len(), |end| start + end);
            let number = text[start + wrapper.len()..end].to_owned();
            text.replace_range(start..(end + 1).min(text.len()), &number);
        }
    }
    text.replace("Endpoint { address: 127.0.0.1", "")
        .replace(", v6_only: false }", "")
}
