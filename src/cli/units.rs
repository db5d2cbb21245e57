//! Spans of time, sizes and shares, short enough for a column.

/// Milliseconds as the two largest units that matter: `412ms`, `7s`, `3m20s`, `3h12m`, `12d4h`.
pub(super) fn span(millis: u64) -> String {
    let seconds = millis / 1_000;
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    match millis {
        0..1_000 => format!("{millis}ms"),
        1_000..60_000 => format!("{seconds}s"),
        60_000..3_600_000 => format!("{minutes}m{:02}s", seconds % 60),
        3_600_000..86_400_000 => format!("{hours}h{:02}m", minutes % 60),
        _ => format!("{days}d{}h", hours % 24),
    }
}

/// Bytes in the largest unit of which there is one: `812K`, `43.1M`, `1.5G`.
pub(super) fn size(bytes: u64) -> String {
    let units = [(1 << 30, "G"), (1 << 20, "M")];
    match units.into_iter().find(|(unit, _)| bytes >= *unit) {
        Some((unit, name)) => format!("{:.1}{name}", bytes as f64 / unit as f64),
        None => format!("{}K", bytes / 1024),
    }
}

/// A part of one, in percent; none of what is no number.
pub(super) fn percent(share: f64) -> Option<String> {
    share.is_finite().then(|| format!("{:.1}%", share * 100.0))
}
