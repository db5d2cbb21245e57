//! How long requests take, and the computing that fills the time.

use std::hint::black_box;
use std::num::ParseFloatError;
use std::str::FromStr;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// A distribution of service times.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Service {
    /// Always the same.
    Fixed(Duration),
    /// Exponential with this mean: many short ones and a few long ones.
    Exponential(Duration),
    /// The second with this probability, else the first: what one slow kind of request in many does.
    Bimodal(Duration, Duration, f64),
}

impl Service {
    /// The next request's time.
    pub fn draw(self, random: &mut Random) -> Duration {
        match self {
            Self::Fixed(time) => time,
            // 1 - u is never 0, whose logarithm is infinite.
            Self::Exponential(mean) => mean.mul_f64(-(1.0 - random.unit()).ln()),
            Self::Bimodal(usual, rare, share) => {
                if random.unit() < share {
                    rare
                } else {
                    usual
                }
            }
        }
    }

    /// The mean time, from which a load that can be carried follows.
    pub fn mean(self) -> Duration {
        match self {
            Self::Fixed(mean) | Self::Exponential(mean) => mean,
            Self::Bimodal(usual, rare, share) => usual.mul_f64(1.0 - share) + rare.mul_f64(share),
        }
    }
}

impl FromStr for Service {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, rest) = text.split_once(':').unwrap_or((text, ""));
        let numbers: Result<Vec<f64>, ParseFloatError> = rest.split(',').map(str::parse).collect();
        match (name, numbers.as_deref()) {
            ("fixed", Ok(&[time])) => Ok(Self::Fixed(milliseconds(time)?)),
            ("exponential", Ok(&[mean])) => Ok(Self::Exponential(milliseconds(mean)?)),
            ("bimodal", Ok(&[usual, rare, share])) if (0.0..=1.0).contains(&share) => Ok(
                Self::Bimodal(milliseconds(usual)?, milliseconds(rare)?, share),
            ),
            _ => Err(format!(
                "{text} is no service time; give fixed:MS, exponential:MS or bimodal:MS,MS,SHARE"
            )),
        }
    }
}

fn milliseconds(number: f64) -> Result<Duration, String> {
    Duration::try_from_secs_f64(number / 1e3)
        .map_err(|error| format!("{number} ms cannot be waited for: {error}"))
}

/// Random numbers that a seed repeats (SplitMix64). Not secret, and they need not be.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The numbers of one worker: its slot is mixed in, or all workers would draw alike.
    pub fn new(seed: u64, slot: u64) -> Self {
        Self(seed ^ slot.wrapping_mul(0xd1b5_4a32_d192_ed03))
    }

    /// At least 0 and less than 1.
    pub fn unit(&mut self) -> f64 {
        // 53 bits are what a double holds exactly.
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// Computes for so much time of this thread's CPU clock.
///
/// A wall clock would stand still for nobody: of two workers on one CPU each would count the
/// other's time as its own work, and the machine would seem to have a CPU for each.
pub fn compute(time: Duration) {
    // This clock is a system call, and a request that takes no time must not pay for two.
    if time.is_zero() {
        return;
    }
    let end = cpu_time() + time;
    let mut numbers = Random::new(0, 0);
    while cpu_time() < end {
        // A few microseconds, so that reading the clock, a system call, is the lesser part.
        for _ in 0..2_000 {
            black_box(numbers.next());
        }
    }
}

/// What this thread has computed so far. A kernel without that clock would have none at all, so a
/// failure counts as no time, and `compute` is then the shortest there is.
fn cpu_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::MAX, Duration::from)
}
