//! Markdown tables: a table for each setting of an experiment, a line for each subject.

use super::results::{Results, Row, distinct};
use super::statistics::{Doubt, Limits, Spread, ratio};
use super::unit::Unit;

/// One column: a measure, what people call it, and whether it is compared with the reference.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// The measure's name in the rows.
    pub measure: &'static str,
    /// The head of the column.
    pub title: &'static str,
    /// How it is written.
    pub unit: Unit,
    /// Whether a column follows that gives it as a ratio.
    pub compared: bool,
}

impl Column {
    /// A measure as it is.
    pub const fn of(measure: &'static str, title: &'static str, unit: Unit) -> Self {
        Self {
            measure,
            title,
            unit,
            compared: false,
        }
    }

    /// The same, and how it compares with the reference.
    #[must_use]
    pub const fn compared(self) -> Self {
        Self {
            compared: true,
            ..self
        }
    }
}

/// An experiment as it is shown.
#[derive(Clone, Copy, Debug)]
pub struct Table<'a> {
    /// Its name in the rows.
    pub experiment: &'a str,
    /// What is shown of it.
    pub columns: &'a [Column],
    /// The subject that the others are compared with, in the same round. `None`: no ratios.
    pub reference: Option<&'a str>,
    /// What is too noisy for a ratio.
    pub limits: Limits,
}

/// The rows of one setting.
pub(super) struct Setting<'a> {
    pub(super) name: String,
    pub(super) rows: Vec<&'a Row>,
}

impl Table<'_> {
    /// All settings' tables, each under the setting's name.
    pub fn markdown(&self, results: &Results) -> String {
        let settings = Setting::all(results, self.experiment);
        let texts: Vec<String> = settings
            .iter()
            .map(|setting| self.titled(setting))
            .collect();
        texts.join("\n")
    }

    /// The table of one setting (see [`Row::setting`]) only: to print it as soon as it is complete.
    pub fn of_setting(&self, results: &Results, name: &str) -> String {
        let mut settings = Setting::all(results, self.experiment).into_iter();
        let setting = settings.find(|setting| setting.name == name);
        setting.map_or(String::new(), |setting| self.titled(&setting))
    }

    fn titled(&self, setting: &Setting) -> String {
        let title = match setting.name.as_str() {
            "" => String::new(),
            name => format!("**{}**\n\n", escape(name)),
        };
        format!("{title}{}", self.of_one(setting))
    }

    fn of_one(&self, setting: &Setting) -> String {
        let subjects = distinct(setting.rows.iter().map(|row| row.subject.as_str()));
        let mut text = self.head();
        for subject in subjects {
            text.push_str(&self.line(setting, subject));
        }
        text
    }

    fn head(&self) -> String {
        let mut titles = vec![String::new()];
        for column in self.columns {
            titles.push(escape(column.title));
            titles.extend(
                self.compared_with(column)
                    .map(|name| format!("÷ {}", escape(name))),
            );
        }
        let rule = "| --- ".to_owned() + &"| ---: ".repeat(titles.len() - 1);
        format!("| {} |\n{rule}|\n", titles.join(" | "))
    }

    fn compared_with(&self, column: &Column) -> Option<&str> {
        self.reference.filter(|_| column.compared)
    }

    fn line(&self, setting: &Setting, subject: &str) -> String {
        let rows = setting.of(subject);
        let mut cells = vec![escape(subject)];
        for column in self.columns {
            cells.push(value(&rows, column));
            let reference = self.compared_with(column);
            cells.extend(reference.map(|name| self.ratio(setting, subject, name, column.measure)));
        }
        format!("| {} |\n", cells.join(" | "))
    }

    fn ratio(&self, setting: &Setting, subject: &str, reference: &str, measure: &str) -> String {
        if subject == reference {
            return "1".to_owned();
        }
        let (rows, reference) = (setting.of(subject), setting.of(reference));
        write_ratio(ratio(&rows, &reference, measure, self.limits))
    }
}

impl<'a> Setting<'a> {
    /// All of an experiment, in the order in which they were measured.
    pub(super) fn all(results: &'a Results, experiment: &'a str) -> Vec<Self> {
        let names = distinct(results.of(experiment).map(Row::setting));
        let of = |name: &str| {
            let rows = results.of(experiment);
            rows.filter(|row| row.setting() == name).collect()
        };
        let setting = |name: String| Self {
            rows: of(&name),
            name,
        };
        names.into_iter().map(setting).collect()
    }

    pub(super) fn of(&self, subject: &str) -> Vec<&'a Row> {
        let rows = self.rows.iter().copied();
        rows.filter(|row| row.subject == subject).collect()
    }
}

/// The ratio, or why there is none.
pub(super) fn write_ratio(ratio: Result<Spread, Doubt>) -> String {
    match ratio {
        Ok(spread) => around(&spread, Unit::Ratio),
        Err(doubt) => format!("*{doubt}*"),
    }
}

fn value(rows: &[&Row], column: &Column) -> String {
    let spread = Spread::of_rows(rows, column.measure);
    spread.map_or_else(|| "–".to_owned(), |spread| around(&spread, column.unit))
}

/// `12.0 (11.2 – 13.1)`; only the number if there was one round or all were alike.
fn around(spread: &Spread, unit: Unit) -> String {
    let [median, least, most] =
        [spread.median, spread.min, spread.max].map(|value| unit.write(value));
    if least == most {
        median
    } else {
        format!("{median} ({least} – {most})")
    }
}

/// So that a text stays in its cell and is shown as it is.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '|' | '*' | '_' | '`' | '[' | ']' | '<' | '>' | '\\' => {
                escaped.push('\\');
                escaped.push(letter);
            }
            '\n' | '\r' => escaped.push(' '),
            _ => escaped.push(letter),
        }
    }
    escaped
}
