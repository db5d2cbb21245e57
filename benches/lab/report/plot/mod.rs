//! Plots, as SVG that reads well on white and on black.
//!
//! - [`sheet`]: paper, title, colours, and names beside the lines instead of a legend
//! - [`axis`], [`frame`]: how values become places, and the grid
//! - [`curves`]: latency by percentile, and a measure by a number that was set
//! - [`bars`]: one bar a subject, for fairness
//! - [`timeline`]: what a reload did to latency, and what failed, by tenths of a second

pub mod axis;
pub mod bars;
pub mod curves;
pub mod frame;
pub mod sheet;
pub mod timeline;
