//! The lab's arithmetic, tables and plots: a wrong median looks just like a right one.
#![allow(missing_docs, clippy::unwrap_used, dead_code, unreachable_pub)]

#[path = "../benches/lab/machine.rs"]
mod machine;
#[path = "../benches/lab/peer/process.rs"]
mod process;
#[path = "../benches/lab/report/mod.rs"]
mod report;
#[path = "../benches/lab/peer/tool.rs"]
mod tool;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use machine::{Machine, Spent, Watch};
use nix::unistd::{Pid, getpid};
use process::{Census, command_line};
use report::best::{Aim, Contest, Group};
use report::charts::{By, fairness, growth, percentiles};
use report::course;
use report::page::{Picture, Section, publish};
use report::plot::bars::{Bar, bars};
use report::plot::curves::{Curve, Growth, by_number, latency};
use report::plot::sheet::Heading;
use report::plot::timeline::{Strip, timeline};
use report::results::{Moment, Results, Row, measure};
use report::statistics::{Doubt, Limits, Spread, ratio};
use report::summary::Summary;
use report::table::{Column, Table, escape};
use report::unit::Unit;

const HEADING: Heading = Heading {
    title: "Ours & <theirs>",
    subtitle: "requests per second, higher is better",
};

fn row(subject: &str, round: u32, rate: f64) -> Row {
    let mut row = Row::new("throughput", subject, round).with("workers", 4);
    row.measure(measure::RATE, rate);
    row
}

fn rows(subject: &str, rates: &[f64]) -> Vec<Row> {
    let rounds = (0..).zip(rates);
    rounds
        .map(|(round, rate)| row(subject, round, *rate))
        .collect()
}

fn refs(rows: &[Row]) -> Vec<&Row> {
    rows.iter().collect()
}

fn table() -> Table<'static> {
    Table {
        experiment: "throughput",
        columns: &[Column {
            measure: measure::RATE,
            title: "requests/s",
            unit: Unit::Count,
            compared: true,
        }],
        reference: Some("ours"),
        limits: Limits::default(),
    }
}

// ---- results ------------------------------------------------------------------------------------

#[test]
fn results_survive_json() {
    let mut results = Results::begin(7).unwrap();
    let mut row = row("nginx", 3, 1234.5);
    row.percentiles.push((0.5, 80.0));
    row.timeline.push(Moment {
        at: 0.1,
        answered: 9,
        ..Moment::default()
    });
    row.marks.push((0.5, 0.75));
    results.rows.push(row);
    results.version("nginx", "1.22");
    results.skip("pm2", "is not installed");
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("results.json");
    results.write(&path).unwrap();
    let read = Results::from_json(&fs::read_to_string(path).unwrap()).unwrap();
    assert_eq!(read, results);
}

#[test]
fn what_is_not_finite_is_missing() {
    let mut row = Row::new("throughput", "ours", 0);
    row.measure("mean", f64::NAN);
    row.measure("rate", f64::INFINITY);
    assert!(row.measures.is_empty());
}

#[test]
fn a_reason_is_given_once() {
    let mut results = Results::begin(7).unwrap();
    results.skip("pm2", "is not installed");
    results.skip("pm2", "is not installed");
    assert_eq!(results.skipped.len(), 1);
}

// ---- statistics ---------------------------------------------------------------------------------

#[test]
fn the_median_is_in_the_middle() {
    let spread = Spread::of(&[9.0, 1.0, 5.0]).unwrap();
    assert_eq!((spread.median, spread.min, spread.max), (5.0, 1.0, 9.0));
    assert_eq!(Spread::of(&[4.0, 1.0, 2.0, 9.0]).unwrap().median, 3.0);
    assert!(Spread::of(&[]).is_none());
}

fn compare(rows: &[Row], reference: &[Row]) -> Result<Spread, Doubt> {
    let (rows, reference) = (refs(rows), refs(reference));
    ratio(&rows, &reference, measure::RATE, Limits::USUAL)
}

#[test]
fn a_ratio_is_of_pairs_from_one_round() {
    // Both get slower from round to round, by half in the end: the ratio does not.
    let (ours, theirs) = (
        rows("ours", &[100.0, 80.0, 70.0, 60.0, 50.0]),
        rows("theirs", &[50.0, 40.0, 35.0, 30.0, 25.0]),
    );
    let spread = compare(&theirs, &ours).unwrap();
    assert_eq!((spread.median, spread.min, spread.max), (0.5, 0.5, 0.5));
}

#[test]
fn a_round_without_the_reference_makes_no_pair() {
    let (ours, theirs) = (rows("ours", &[100.0; 4]), rows("theirs", &[50.0; 6]));
    assert_eq!(compare(&theirs, &ours), Err(Doubt::TooFew));
}

#[test]
fn a_ratio_that_is_known_too_badly_is_refused() {
    let ours = rows("ours", &[100.0; 5]);
    let of = |rates: &[f64; 5]| compare(&rows("theirs", rates), &ours);
    assert!(of(&[90.0, 95.0, 100.0, 105.0, 112.0]).is_ok());
    let refused = of(&[90.0, 95.0, 100.0, 105.0, 113.0]);
    assert_eq!(refused, Err(Doubt::Wide(0.9, 1.13)));
    assert_eq!(refused.unwrap_err().to_string(), "refused: 0.90 to 1.13");
}

#[test]
fn a_great_difference_may_be_known_less_well() {
    let ours = rows("ours", &[100.0; 5]);
    let of = |rates: &[f64; 5]| compare(&rows("theirs", rates), &ours);
    assert!(of(&[300.0, 400.0, 400.0, 500.0, 1200.0]).is_ok());
    assert!(of(&[290.0, 400.0, 400.0, 500.0, 1200.0]).is_err());
    assert!(of(&[10.0, 20.0, 25.0, 30.0, 40.0]).is_ok());
    assert!(of(&[0.0, 20.0, 25.0, 30.0, 40.0]).is_err());
}

#[test]
fn with_more_rounds_a_few_may_be_far_off() {
    let rates = [1.0, 100.0, 101.0, 102.0, 103.0, 104.0, 105.0, 900.0];
    let ours = rows("ours", &[100.0; 8]);
    assert!(compare(&rows("theirs", &rates[..7]), &ours).is_err());
    let spread = compare(&rows("theirs", &rates), &ours).unwrap();
    assert_eq!((spread.min, spread.max), (0.01, 9.0), "and it is shown");
}

#[test]
fn rounds_in_which_others_had_the_machine_do_not_count() {
    let ours = rows("ours", &[100.0; 6]);
    let mut theirs = rows("theirs", &[50.0; 6]);
    theirs[1].measure(measure::RATE, 1.0);
    theirs[1].measure(measure::FOREIGN, 0.11);
    assert_eq!(compare(&theirs, &ours).unwrap().rounds, 5);
    theirs[2].measure(measure::FOREIGN, 0.12);
    assert_eq!(compare(&theirs, &ours), Err(Doubt::Foreign(0.12)));
}

// ---- tables -------------------------------------------------------------------------------------

#[test]
fn a_table_has_medians_and_ratios() {
    let mut results = Results::begin(7).unwrap();
    results.rows.extend(rows("ours", &[20_000.0; 6]));
    let theirs = [10_000.0, 10_000.0, 10_000.0, 11_000.0, 11_000.0, 11_000.0];
    results.rows.extend(rows("theirs", &theirs));
    let text = table().markdown(&results);
    assert_eq!(
        text,
        "**workers=4**\n\n\
         |  | requests/s | ÷ ours |\n\
         | --- | ---: | ---: |\n\
         | ours | 20k | 1 |\n\
         | theirs | 10.5k (10k – 11k) | 0.53 (0.50 – 0.55) |\n"
    );
}

#[test]
fn a_table_says_that_a_ratio_is_refused() {
    let mut results = Results::begin(7).unwrap();
    results.rows.extend(rows("ours", &[10_000.0; 5]));
    let theirs = [8_000.0, 8_000.0, 10_000.0, 11_000.0, 12_000.0];
    results.rows.extend(rows("theirs", &theirs));
    let text = table().markdown(&results);
    assert!(text.contains("*refused: 0.80 to 1.20*"), "{text}");
}

#[test]
fn the_best_of_a_group_stands_for_it() {
    let contest = Contest {
        ours: Group {
            title: "ours",
            subjects: &["one", "two"],
        },
        others: &[
            Group {
                title: "theirs",
                subjects: &["slow", "fast"],
            },
            Group {
                title: "one alone",
                subjects: &["one"],
            },
            Group {
                title: "nobody",
                subjects: &["absent"],
            },
        ],
        limits: Limits::USUAL,
    };
    let mut results = Results::begin(7).unwrap();
    for (subject, rate) in [
        ("one", 90.0),
        ("two", 80.0),
        ("slow", 50.0),
        ("fast", 100.0),
    ] {
        results.rows.extend(rows(subject, &[rate; 5]));
    }
    let line = |is_more_better| {
        let aim = |_: &Row| Aim {
            measure: measure::RATE,
            title: "rate",
            unit: Unit::Count,
            is_more_better,
        };
        let text = contest.markdown(&results, aim);
        text.lines().nth(2).unwrap().to_owned()
    };
    assert_eq!(
        line(true),
        "| throughput: workers=4 | rate, more is better | one 90 | fast 100 | 0.90 | one 90 | 1 | – | – |"
    );
    assert_eq!(
        line(false),
        "| throughput: workers=4 | rate, less is better | two 80 | slow 50 | 1.60 | one 90 | 0.89 | – | – |"
    );
}

#[test]
fn a_setting_has_a_table_of_its_own() {
    let mut results = Results::begin(7).unwrap();
    results.rows.extend(rows("ours", &[1.0, 1.0]));
    results.rows.push(row("ours", 0, 8.0).with("workers", 8));
    assert_eq!(table().markdown(&results).matches("| ours |").count(), 2);
    assert_eq!(
        table()
            .of_setting(&results, "workers=8")
            .matches("| ours |")
            .count(),
        1
    );
}

#[test]
fn markdown_is_shown_as_it_is() {
    assert_eq!(escape("a|b *c* _d_\n<e>"), "a\\|b \\*c\\* \\_d\\_ \\<e\\>");
}

#[test]
fn numbers_are_written_with_their_unit() {
    let written = [
        (Unit::Count, 999.6, "1000"),
        (Unit::Count, 1999.6, "2,000"),
        (Unit::Count, 48_230.0, "48.2k"),
        (Unit::Time, 85.4, "85.4 µs"),
        (Unit::Time, 1_234.0, "1.23 ms"),
        (Unit::Time, 3_000_000.0, "3 s"),
        (Unit::Bytes, 3_879_731.0, "3.7 MiB"),
        (Unit::Ratio, 1.0, "1.00"),
        (Unit::Share, 0.123, "12.3 %"),
        (Unit::Count, 0.0, "0"),
    ];
    for (unit, value, expected) in written {
        assert_eq!(unit.write(value), expected);
    }
}

// ---- plots --------------------------------------------------------------------------------------

/// Keeps it where a person can look at it; fails unless it is well-formed and has all the words.
fn expect_svg(name: &str, svg: &str, words: &[&str]) {
    fs::write(Path::new(env!("CARGO_TARGET_TMPDIR")).join(name), svg).unwrap();
    expect_well_formed(svg);
    for word in words {
        assert!(svg.contains(word), "{name} does not say {word:?}");
    }
}

/// Every tag that is opened is closed, in order, and nothing stands after the last.
fn expect_well_formed(svg: &str) {
    let mut open: Vec<&str> = Vec::new();
    let mut roots = 0;
    for part in svg.split('<').skip(1) {
        let (tag, text) = part.split_once('>').expect("a tag ends");
        for entity in text.split('&').skip(1) {
            let known = ["amp;", "lt;", "gt;", "quot;", "apos;", "#"];
            assert!(known.iter().any(|name| entity.starts_with(name)), "{text}");
        }
        let name = tag.split_whitespace().next().unwrap().trim_end_matches('/');
        if let Some(closed) = name.strip_prefix('/') {
            assert_eq!(open.pop(), Some(closed));
        } else if !tag.ends_with('/') && !tag.starts_with(['!', '?']) {
            roots += usize::from(open.is_empty());
            open.push(name);
        }
        assert!(!tag.contains("NaN") && !tag.contains("inf"), "{tag}");
    }
    assert!(open.is_empty(), "not closed: {open:?}");
    assert_eq!(roots, 1);
}

fn curve(name: &str, fast: f64, slow: f64) -> Curve {
    let quantiles = [0.0, 0.5, 0.9, 0.99, 0.999, 0.9999, 1.0];
    let points =
        quantiles.map(|quantile| (quantile, fast + (slow - fast) * f64::powi(quantile, 60)));
    Curve {
        name: name.to_owned(),
        points: points.to_vec(),
    }
}

#[test]
fn latency_is_drawn_by_nines() {
    let curves = [
        curve("reuseport-run", 80.0, 900.0),
        curve("cluster, round robin", 110.0, 5_000.0),
        curve("pm2", 120.0, 5_200.0),
        curve("haproxy", 190.0, 2_500.0),
    ];
    let svg = latency(HEADING, &curves).unwrap();
    let words = [
        "reuseport-run",
        "haproxy",
        "99.9 %",
        "99.99 %",
        "1 ms",
        "Ours &amp; &lt;theirs&gt;",
    ];
    expect_svg("latency.svg", &svg, &words);
    assert!(latency(HEADING, &[]).is_err());
}

#[test]
fn throughput_is_drawn_by_workers() {
    let growth = |name: &str, rate: f64| Growth {
        name: name.to_owned(),
        points: [1, 2, 4, 8]
            .map(|workers| {
                let median = rate * f64::from(workers).sqrt();
                let around = [median * 0.96, median, median * 1.05];
                (workers, Spread::of(&around).unwrap())
            })
            .to_vec(),
    };
    let growths = [
        growth("queues", 21_000.0),
        growth("shared", 20_000.0),
        growth("dispatch", 12_000.0),
    ];
    let svg = by_number(HEADING, Unit::Count, "workers", &growths).unwrap();
    expect_svg(
        "workers.svg",
        &svg,
        &["queues", "dispatch", "workers", "20k"],
    );
}

#[test]
fn fairness_is_drawn_as_bars() {
    let bar = |name: &str, value: f64| Bar {
        name: name.to_owned(),
        spread: Spread::of(&[value * 0.95, value, value * 1.1]).unwrap(),
        is_marked: name == "reuseport-run",
    };
    let all = [
        bar("reuseport-run", 1.12),
        bar("gunicorn, shared", 1.9),
        bar("cluster, none", 3.4),
    ];
    let svg = bars(HEADING, Unit::Ratio, Some((1.0, "fair")), &all).unwrap();
    expect_svg("fairness.svg", &svg, &["reuseport-run", "1.90", "fair"]);
}

#[test]
fn a_reload_is_drawn_as_strips() {
    let strip = |name: &str, failed: u64, bump: f64| Strip {
        name: name.to_owned(),
        moments: (-10..30)
            .map(|at| {
                let is_bad = (1..6).contains(&at);
                let factor = if is_bad { bump } else { 1.0 };
                Moment {
                    at: f64::from(at) / 10.0,
                    answered: 100,
                    failed: if is_bad { failed } else { 0 },
                    p50: 90.0 * factor,
                    p99: 300.0 * factor,
                    max: 700.0 * factor,
                }
            })
            .collect(),
        end: 0.8,
        failed_in_all: 5 * failed + u64::from(failed > 0),
    };
    let strips = [
        strip("reuseport-run", 0, 1.4),
        strip("pm2", 4, 60.0),
        strip("nginx", 1, 2.0),
    ];
    let svg = timeline(HEADING, &strips).unwrap();
    expect_svg(
        "timeline.svg",
        &svg,
        &[
            "no request failed in any reload",
            "20 failed here, 21 in all reloads",
            "this one took 800 ms",
        ],
    );
    assert!(timeline(HEADING, &[]).is_err());
}

// ---- from rows to plots and pages ----------------------------------------------------------------

#[test]
fn a_curve_is_of_the_rounds_medians() {
    let mut rounds = rows("ours", &[1.0, 1.0, 1.0]);
    for (row, slow) in rounds.iter_mut().zip([300.0, 100.0, 200.0]) {
        row.percentiles = vec![(0.5, slow / 10.0), (0.99, slow)];
    }
    // A round with fewer requests does not reach as far.
    rounds[0].percentiles.pop();
    let curves = course::curves(&refs(&rounds));
    assert_eq!(curves[0].points, [(0.5, 20.0), (0.99, 150.0)]);
}

#[test]
fn a_growth_is_of_each_number_s_rounds() {
    let mut all = rows("ours", &[1.0, 3.0, 2.0]);
    all.push(row("ours", 0, 9.0).with("workers", 2));
    all.push(row("ours", 0, 9.0).with("workers", "many"));
    let number = |row: &Row| row.parameters.get("workers")?.parse().ok();
    let growths = course::growths(&refs(&all), measure::RATE, number);
    let points = growths[0].points.iter();
    let medians: Vec<_> = points.map(|(at, spread)| (*at, spread.median)).collect();
    assert_eq!(medians, [(2, 9.0), (4, 2.0)]);
}

#[test]
fn there_is_no_picture_of_nothing() {
    let empty: Vec<Row> = rows("ours", &[1.0]);
    let by = By {
        measure: measure::RATE,
        unit: Unit::Count,
        what: "workers",
        number: |row: &Row| row.parameters.get("workers")?.parse().ok(),
    };
    let file = || "a.svg".to_owned();
    let rows = refs(&empty);
    assert!(percentiles(file(), "None", &rows).unwrap().is_none());
    assert!(growth(file(), HEADING, &rows, by).unwrap().is_none());
    let name = |row: &Row| row.subject.clone();
    let shares = fairness(file(), HEADING, &rows, "ours", name);
    assert!(shares.unwrap().is_none());
}

#[test]
fn the_worst_reload_is_the_one_that_lost_most() {
    let mut row = row("theirs", 0, 1.0);
    row.timeline = (0..100)
        .map(|at| Moment {
            at: f64::from(at) / 10.0,
            failed: if at == 52 { 3 } else { 0 },
            max: if at == 21 { 9e6 } else { 1.0 },
            ..Moment::default()
        })
        .collect();
    row.marks = vec![(2.0, 2.5), (5.0, 5.5), (8.0, 8.5)];
    let strip = course::worst(&row).unwrap();
    assert_eq!(
        strip
            .moments
            .iter()
            .map(|moment| moment.failed)
            .sum::<u64>(),
        3
    );
    assert!((strip.end - 0.5).abs() < 1e-9);
    assert!(
        strip.moments[0].at < 0.0,
        "some of what was before is shown"
    );
    row.marks.clear();
    assert!(course::worst(&row).is_none());
}

#[test]
fn a_summary_has_each_measure_over_its_rounds() {
    let mut results = Results::begin(7).unwrap();
    results
        .rows
        .extend(rows("ours", &[19_000.0, 20_000.0, 22_000.0]));
    results.version("nginx", "1.22.1");
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("summary.jsonl");
    Summary::of(&results).write(&path).unwrap();
    let summary = fs::read_to_string(&path).unwrap();
    let lines = summary
        .lines()
        .map(|line| serde_json::from_str(line).unwrap());
    let lines: Vec<serde_json::Value> = lines.collect();
    let [run, group] = &lines[..] else {
        panic!("not a run and a group: {summary}")
    };
    assert_eq!(run["versions"]["nginx"], "1.22.1");
    let spread = &group["measures"][measure::RATE];
    for (name, value) in [("median", 20_000.0), ("min", 19_000.0), ("max", 22_000.0)] {
        assert_eq!(spread[name], value, "{name} of {summary}");
    }
    assert_eq!(spread["rounds"], 3);
}

#[test]
fn a_page_has_everything_and_says_what_is_missing() {
    let mut results = Results::begin(7).unwrap();
    results.rows.extend(rows("ours", &[20_000.0, 20_000.0]));
    results.version("nginx", "1.22.1");
    results.skip("pm2", "is not installed");
    let section = Section {
        title: "Throughput",
        method: "Everyone in turn.",
        table: table(),
        pictures: vec![Picture {
            file: "a.svg".to_owned(),
            description: "A picture".to_owned(),
            svg: "<svg/>".to_owned(),
        }],
    };
    let directory = tempfile::tempdir().unwrap();
    let output = directory.path().join("report");
    publish(&output, "Us", &results, "Notes.", &[section]).unwrap();
    let text = fs::read_to_string(output.join("README.md")).unwrap();
    for words in [
        "nginx 1.22.1",
        "seed 7",
        "Notes.",
        "![A picture](a.svg)",
        "| ours | 20k | 1 |",
        "pm2: is not installed",
    ] {
        assert!(text.contains(words), "{words:?} is missing in {text}");
    }
    assert_eq!(fs::read_to_string(output.join("a.svg")).unwrap(), "<svg/>");
    assert!(output.join("results.json").exists());
    assert!(output.join("summary.jsonl").exists());
}

// ---- programs and processes ----------------------------------------------------------------------

#[test]
fn versions_are_found_in_what_programs_say() {
    let said = [
        ("v20.20.2\n", Some("20.20.2")),
        ("nginx version: nginx/1.22.1\n", Some("1.22.1")),
        ("gunicorn (version 27.0.1)", Some("27.0.1")),
        (
            "HAProxy version 2.6.12-1+deb12u4 2026/10/17",
            Some("2.6.12"),
        ),
        ("go version go1.19.8 linux/amd64", Some("1.19.8")),
        ("Running uvicorn 0.54.0 with CPython 3.11.7", Some("0.54.0")),
        ("command not found", None),
    ];
    for (text, version) in said {
        assert_eq!(tool::version_in(text).as_deref(), version, "{text}");
    }
}

#[test]
fn children_are_descendants_until_they_end() {
    let mut child = Command::new("sleep")
        .arg("60")
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
    assert!(Census::take().descendants(getpid()).contains(&pid));
    assert!(!Census::take().descendants(pid).contains(&pid));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!Census::take().has(pid));
    assert_eq!(command_line(pid), "");
}

// ---- the machine --------------------------------------------------------------------------------

#[test]
fn the_time_of_all_cpus_is_read() {
    let spent =
        Spent::parse("cpu  100 20 30 4000 5 6 7 8 0 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n").unwrap();
    assert_eq!(spent.processes, Duration::from_millis(1500));
    assert_eq!(spent.stolen, Duration::from_millis(80));
    assert_eq!(Spent::parse("cpu  1 2\n"), None);
    assert_eq!(Spent::parse("intr 0"), None);
}

#[test]
fn what_is_ours_is_not_foreign() {
    let watch = Watch::start().unwrap();
    let share = watch.foreign(Duration::MAX).unwrap();
    assert!(share < 1.0, "{share}");
    assert!(Machine::here().unwrap().cores > 0);
}
