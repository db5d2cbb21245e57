//! Stub.
/// The argv[0].
pub const NAME: &str = "reuseport-run-rescuer";
