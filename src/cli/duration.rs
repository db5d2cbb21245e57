//! Spans of time as people write them.

use std::time::Duration;

/// The longest span that can be asked for: a week. Longer ones are typing errors.
const MAX_DURATION: Duration = Duration::from_secs(7 * 24 * 60 * 60);

const ALLOWED: &str = "give a time such as 500ms, 2s or 1m 30s (a bare number is seconds), \
                       at most 7 days";

/// Reads `500ms`, `2s`, `1m 30s`; a bare number, also `0.5`, is seconds.
///
/// # Errors
/// What is allowed, as a clause.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let span = match text.parse::<f64>() {
        Ok(seconds) => Duration::try_from_secs_f64(seconds).ok(),
        Err(_) => humantime::parse_duration(text).ok(),
    };
    span.filter(|span| *span <= MAX_DURATION)
        .ok_or_else(|| ALLOWED.to_owned())
}

/// The same for spans that mean nothing when they are 0.
///
/// # Errors
/// What is allowed, as a clause.
pub(crate) fn positive(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("give a time that is longer than 0".to_owned()),
        span => Ok(span),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_people_write() {
        for (text, millis) in [
            ("500ms", 500),
            ("2s", 2_000),
            ("1m 30s", 90_000),
            ("1m30s", 90_000),
            ("7", 7_000),
            (" 0.25 ", 250),
            ("0", 0),
            ("7d", 604_800_000),
            ("604800", 604_800_000),
        ] {
            assert_eq!(
                duration(text).unwrap(),
                Duration::from_millis(millis),
                "{text}"
            );
        }
    }

    #[test]
    fn refuses_the_rest_and_says_what_is_allowed() {
        for text in [
            "",
            "-1",
            "-1s",
            "soon",
            "5 parsecs",
            "8d",
            "604801",
            "inf",
            "NaN",
            "1e300",
        ] {
            let reason = duration(text).unwrap_err();
            assert!(
                reason.contains("1m 30s") && reason.contains("7 days"),
                "{text}: {reason}"
            );
        }
        assert!(positive("0ms").unwrap_err().contains("longer than 0"));
        assert_eq!(positive("1ms").unwrap(), Duration::from_millis(1));
    }
}
