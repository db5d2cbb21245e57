//! What a worker may reach before it is recycled.

use super::duration::positive;
use super::exit::Exit;
use super::settings::Settings;
use crate::fleet::Limits;

/// # Errors
/// A usage error that says which limit makes no sense, and what is allowed.
pub(super) fn limits(settings: &Settings) -> Result<Limits, Exit> {
    Ok(Limits {
        max_age: settings.one("max-age", positive)?,
    })
}
