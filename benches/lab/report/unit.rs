//! Numbers as people read them: three figures that count, and the unit beside them.

/// What a measure counts, and so how it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Things, such as requests: `48.2k`.
    Count,
    /// Microseconds: `85 µs`, `1.2 ms`, `3.1 s`.
    Time,
    /// Bytes: `3.7 MiB`.
    Bytes,
    /// One thing over another: `1.03`.
    Ratio,
    /// A share from 0 to 1: `12 %`.
    Share,
}

impl Unit {
    /// The value in words.
    pub fn write(self, value: f64) -> String {
        match self {
            Self::Count => count(value),
            Self::Time => time(value),
            Self::Bytes => bytes(value),
            Self::Ratio => format!("{value:.2}"),
            Self::Share => format!("{} %", figures(value * 100.0)),
        }
    }
}

/// Thousands are only written short from ten of them on: `9,999` says more than `10k`.
fn count(value: f64) -> String {
    match value.abs() {
        size if size >= 1e6 => format!("{}M", figures(value / 1e6)),
        size if size >= 1e4 => format!("{}k", figures(value / 1e3)),
        size if size >= 1e3 => grouped(value.round()),
        _ => figures(value),
    }
}

fn grouped(value: f64) -> String {
    let thousands = (value / 1e3).trunc();
    format!("{thousands},{:03}", (value - thousands * 1e3).abs())
}

fn time(microseconds: f64) -> String {
    match microseconds.abs() {
        size if size >= 1e6 => format!("{} s", figures(microseconds / 1e6)),
        size if size >= 1e3 => format!("{} ms", figures(microseconds / 1e3)),
        _ => format!("{} µs", figures(microseconds)),
    }
}

fn bytes(value: f64) -> String {
    const MEBIBYTE: f64 = 1_048_576.0;
    if value.abs() >= 1024.0 * MEBIBYTE {
        format!("{} GiB", figures(value / MEBIBYTE / 1024.0))
    } else if value.abs() >= MEBIBYTE {
        format!("{} MiB", figures(value / MEBIBYTE))
    } else {
        format!("{} KiB", figures(value / 1024.0))
    }
}

/// Three figures, and no zeros after the point of a whole number.
fn figures(value: f64) -> String {
    let decimals = match value.abs() {
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        _ => 2,
    };
    let text = format!("{value:.decimals$}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}
