//! The lab's arithmetic: a wrong median looks just like a right one.
#![allow(missing_docs, clippy::unwrap_used, dead_code, unreachable_pub)]

#[path = "../benches/lab/machine.rs"]
mod machine;
#[path = "../benches/lab/report/mod.rs"]
mod report;

use report::results::{Results, Row};

#[test]
fn results_survive_json() {
    let mut results = Results::begin(7).unwrap();
    let mut row = Row::new("throughput", "nginx", 3).with("workers", 4);
    row.measure("requests_per_second", 1234.5);
    row.percentiles.push((0.5, 80.0));
    results.rows.push(row);
    results.skip("pm2", "is not installed");
    assert_eq!(
        Results::from_json(&results.to_json().unwrap()).unwrap(),
        results
    );
}
