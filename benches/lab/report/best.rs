//! The best of a group of subjects against the best of others, setting by setting.
//!
//! Who is best of a group is who has the best median there, so each group is shown as whoever knows
//! his load would set it up. That flatters every group a little, since the luckiest of equals is
//! taken; the larger group more. The comparison itself is made like all others: of pairs, round by
//! round, and refused where the machine was too noisy ([`ratio`]).

use super::results::{Results, Row, distinct};
use super::statistics::{Limits, Spread, ratio};
use super::table::{Setting, escape, write_ratio};
use super::unit::Unit;

/// What is compared in a setting.
#[derive(Clone, Copy, Debug)]
pub struct Aim {
    /// The measure's name in the rows.
    pub measure: &'static str,
    /// What people call it.
    pub title: &'static str,
    /// How it is written.
    pub unit: Unit,
    /// Whether more is better.
    pub is_more_better: bool,
}

/// Subjects of one kind.
#[derive(Clone, Copy, Debug)]
pub struct Group<'a> {
    /// What they are together.
    pub title: &'a str,
    /// Their names in the rows.
    pub subjects: &'a [&'a str],
}

/// A group against others.
#[derive(Clone, Copy, Debug)]
pub struct Contest<'a> {
    /// The one that is compared.
    pub ours: Group<'a>,
    /// With whom.
    pub others: &'a [Group<'a>],
    /// What is too noisy for a ratio.
    pub limits: Limits,
}

impl Contest<'_> {
    /// A line for each setting of all experiments in which one of ours took part; `aim` tells by one
    /// of its rows what it was about.
    pub fn markdown(&self, results: &Results, aim: impl Fn(&Row) -> Aim) -> String {
        let mut text = self.head();
        for experiment in distinct(results.experiments().into_iter()) {
            for setting in Setting::all(results, experiment) {
                let line = setting.rows.first().and_then(|row| {
                    let title = format!("{experiment}: {}", setting.name);
                    self.line(&title, &setting, aim(row))
                });
                text.push_str(&line.unwrap_or_default());
            }
        }
        text
    }

    fn head(&self) -> String {
        let mut titles = vec![String::new(), "by".to_owned(), escape(self.ours.title)];
        for group in self.others {
            titles.extend([escape(group.title), "ours ÷ that".to_owned()]);
        }
        let rule = "| --- | --- ".to_owned() + &"| ---: ".repeat(titles.len() - 2);
        format!("| {} |\n{rule}|\n", titles.join(" | "))
    }

    fn line(&self, title: &str, setting: &Setting, aim: Aim) -> Option<String> {
        let ours = Best::of(self.ours, setting, aim)?;
        let better = if aim.is_more_better { "more" } else { "less" };
        let by = format!("{}, {better} is better", aim.title);
        let mut cells = vec![escape(title), by, ours.write(aim)];
        for group in self.others {
            let best = Best::of(*group, setting, aim);
            let pair = best.map(|best| [best.write(aim), self.ratio(&ours, &best, setting, aim)]);
            cells.extend(pair.unwrap_or_else(|| ["–".to_owned(), "–".to_owned()]));
        }
        Some(format!("| {} |\n", cells.join(" | ")))
    }

    fn ratio(&self, ours: &Best, best: &Best, setting: &Setting, aim: Aim) -> String {
        if ours.subject == best.subject {
            return "1".to_owned();
        }
        let (rows, reference) = (setting.of(ours.subject), setting.of(best.subject));
        write_ratio(ratio(&rows, &reference, aim.measure, self.limits))
    }
}

/// The best of a group in a setting.
struct Best<'a> {
    subject: &'a str,
    median: f64,
}

impl<'a> Best<'a> {
    fn of(group: Group<'a>, setting: &Setting, aim: Aim) -> Option<Self> {
        let found = group.subjects.iter().filter_map(|subject| {
            let spread = Spread::of_rows(&setting.of(subject), aim.measure)?;
            Some(Self {
                subject,
                median: spread.median,
            })
        });
        let by_median = |one: &Self, other: &Self| one.median.total_cmp(&other.median);
        if aim.is_more_better {
            found.max_by(by_median)
        } else {
            found.min_by(by_median)
        }
    }

    fn write(&self, aim: Aim) -> String {
        format!("{} {}", escape(self.subject), aim.unit.write(self.median))
    }
}
