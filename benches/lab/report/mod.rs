//! From rows to what a person reads.
//!
//! ```text
//!   results      the raw rows, and their JSON
//!    └─ statistics   medians, ratios, and when a ratio is refused
//!        ├─ summary      each measure over its rounds, as JSON lines: what is kept of the rows
//!        └─ unit         numbers as people read them
//!            ├─ table        Markdown
//!            │   └─ best         the best of one group against the best of others
//!            └─ plot         SVG, of what `course` puts together
//!                ├─ charts       the charts that more than one report has
//!                └─ page         all of an experiment's tables and plots, as one document
//! ```
//!
//! Nothing here measures, and nothing here is kept that could not be made again from the rows.

pub mod best;
pub mod charts;
pub mod course;
pub mod page;
pub mod plot;
pub mod results;
pub mod statistics;
pub mod summary;
pub mod table;
pub mod unit;
