//! Figures, as tables or as JSON.

use std::fmt::Write;

use serde::Serialize;

use crate::machine::Machine;
use crate::measure::{Samples, Syncs, micros, millis};

/// Something that was measured, in one or more rows.
#[derive(Debug, Serialize)]
pub(crate) struct Figure {
    pub(crate) name: &'static str,
    /// How it was measured, for a person.
    pub(crate) conditions: String,
    pub(crate) rows: Vec<Row>,
}

/// One value.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) what: String,
    pub(crate) value: f64,
    pub(crate) unit: &'static str,
    /// How many times it was done.
    pub(crate) count: Option<usize>,
    /// How the single measurements spread, in the words of the row.
    pub(crate) spread: String,
    /// Milliseconds of one `fdatasync` of the same minute, after an overwrite.
    pub(crate) sync_ms: Option<f64>,
    /// The same after an append.
    pub(crate) append_sync_ms: Option<f64>,
    pub(crate) aim: Option<Aim>,
}

/// What a value is to reach.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Aim {
    pub(crate) bound: Bound,
    /// Where the bound comes from, when it is computed.
    pub(crate) formula: &'static str,
}

#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

impl Row {
    /// The median of times in milliseconds.
    pub(crate) fn millis(what: impl Into<String>, times: &Samples) -> Self {
        Self::times(what, times, "ms", millis)
    }

    /// The median of times in microseconds.
    pub(crate) fn micros(what: impl Into<String>, times: &Samples) -> Self {
        Self::times(what, times, "µs", micros)
    }

    fn times(
        what: impl Into<String>,
        times: &Samples,
        unit: &'static str,
        number: impl Fn(std::time::Duration) -> f64,
    ) -> Self {
        let [low, p99, high] = [times.min(), times.percentile(99), times.max()].map(number_text(&number));
        // A hundredth of a few is the last one.
        let spread =
            if times.count() >= 200 { format!("min {low}, p99 {p99}") } else { format!("{low} to {high}") };
        Self { spread, count: Some(times.count()), ..Self::plain(what, number(times.median()), unit) }
    }

    /// A value without repetitions.
    pub(crate) fn plain(what: impl Into<String>, value: f64, unit: &'static str) -> Self {
        Self {
            what: what.into(),
            value,
            unit,
            count: None,
            spread: String::new(),
            sync_ms: None,
            append_sync_ms: None,
            aim: None,
        }
    }

    pub(crate) fn beside(self, syncs: &Syncs) -> Self {
        let [sync_ms, append_sync_ms] =
            [&syncs.overwrite, &syncs.append].map(|times| Some(millis(times.median())));
        Self { sync_ms, append_sync_ms, ..self }
    }

    pub(crate) fn at_most(self, bound: f64, formula: &'static str) -> Self {
        Self { aim: Some(Aim { bound: Bound::AtMost(bound), formula }), ..self }
    }

    pub(crate) fn at_least(self, bound: f64, formula: &'static str) -> Self {
        Self { aim: Some(Aim { bound: Bound::AtLeast(bound), formula }), ..self }
    }

    fn cells(&self) -> [String; 6] {
        let (aim, verdict) = match &self.aim {
            None => (String::new(), String::new()),
            Some(Aim { bound, formula }) => {
                let (sign, bound, is_reached) = match *bound {
                    Bound::AtMost(bound) => ("≤", bound, self.value <= bound),
                    Bound::AtLeast(bound) => ("≥", bound, self.value >= bound),
                };
                let formula = if formula.is_empty() { String::new() } else { format!(" = {formula}") };
                (
                    format!("{sign} {}{formula}", text(bound)),
                    if is_reached { "reached" } else { "MISSED" }.to_owned(),
                )
            }
        };
        let count = self.count.map_or_else(String::new, |count| format!("n {count}"));
        [
            self.what.clone(),
            format!("{} {}", text(self.value), self.unit),
            [count, self.spread.clone()]
                .iter()
                .filter(|part| !part.is_empty())
                .cloned()
                .collect::<Vec<_>>()
                .join(", "),
            self.sync_ms
                .zip(self.append_sync_ms)
                .map_or_else(String::new, |(f, append)| format!("f = {f:.3} ms (append {append:.3})")),
            aim,
            verdict,
        ]
    }
}

fn number_text<N: Fn(std::time::Duration) -> f64>(number: &N) -> impl Fn(std::time::Duration) -> String {
    move |duration| text(number(duration))
}

/// A number with three digits that count.
fn text(value: f64) -> String {
    match value.abs() {
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        1.0.. => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// What was measured so far.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    machine: Machine,
    figures: Vec<Figure>,
    /// Whether each figure is printed as soon as it is there, as a table.
    #[serde(skip)]
    is_table: bool,
}

impl Report {
    pub(crate) fn new(machine: Machine, is_table: bool) -> Self {
        if is_table {
            machine.lines().iter().for_each(|line| println!("{line}"));
        }
        Self { machine, figures: Vec::new(), is_table }
    }

    pub(crate) fn add(&mut self, figure: Figure) {
        if self.is_table {
            print!("{}", table(&figure));
        }
        self.figures.push(figure);
    }

    pub(crate) fn end(self) -> anyhow::Result<()> {
        if !self.is_table {
            println!("{}", serde_json::to_string_pretty(&self)?);
        }
        Ok(())
    }
}

fn table(figure: &Figure) -> String {
    let rows: Vec<[String; 6]> = figure.rows.iter().map(Row::cells).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; 6] = std::array::from_fn(width);
    let mut table = format!("\n{}: {}\n", figure.name, figure.conditions);
    for row in &rows {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate().filter(|(column, _)| widths[*column] > 0) {
            let width = widths[column];
            // Numbers stand under each other.
            let _ =
                if column == 1 { write!(line, "  {cell:>width$}") } else { write!(line, "  {cell:<width$}") };
        }
        table.push_str(line.trim_end());
        table.push('\n');
    }
    table
}
