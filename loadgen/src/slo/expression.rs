//! One objective: a name, an operator, a number with a unit.

use std::fmt;

use crate::metrics::{Definition, Metrics, Unit};
use crate::report::SloReport;

/// How a figure must stand to its bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// Below.
    Less,
    /// At or below.
    LessOrEqual,
    /// Above.
    Greater,
    /// At or above.
    GreaterOrEqual,
    /// Just that.
    Equal,
}

/// One objective.
#[derive(Debug, Clone, PartialEq)]
pub struct Slo {
    text: String,
    name: String,
    unit: Unit,
    operator: Operator,
    bound: f64,
}

/// What is wrong in an expression, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Characters before the place.
    before: usize,
    what: String,
}

const OPERATORS: [(&str, Operator); 5] = [
    ("<", Operator::Less),
    ("<=", Operator::LessOrEqual),
    (">", Operator::Greater),
    (">=", Operator::GreaterOrEqual),
    ("==", Operator::Equal),
];

/// Alike enough to be what was meant.
const ALIKE: f64 = 0.6;

impl Slo {
    /// Understands an expression over these names.
    ///
    /// # Errors
    /// Says where it is wrong and what it must be.
    pub fn parse(text: &str, known: &[Definition]) -> Result<Self, Fault> {
        let operator_at = text.find(is_operator);
        let name = text[..operator_at.unwrap_or(text.len())].trim();
        let definition = known.iter().find(|definition| definition.name == name);
        let definition = definition.ok_or_else(|| Fault::at(text, name, unknown(name, known)))?;
        let Some(operator_at) = operator_at else {
            return Err(Fault::at_end(text, format!("an operator is missing: {}", operators())));
        };
        let after = &text[operator_at..];
        let (sign, after) = after.split_at(after.find(|c| !is_operator(c)).unwrap_or(after.len()));
        let operator = OPERATORS.iter().find(|(known, _)| *known == sign);
        let operator =
            operator.ok_or_else(|| Fault::at(text, sign, format!("{sign:?} is no operator: {}", operators())));
        let bound = after.trim();
        let bound = bound_of(text, bound, definition);
        let (operator, bound) = (operator?.1, bound?);
        Ok(Self { text: text.trim().to_owned(), name: name.to_owned(), unit: definition.unit, operator, bound })
    }

    /// The name it is about.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether a figure keeps to it.
    #[must_use]
    pub fn holds(&self, value: f64) -> bool {
        match self.operator {
            Operator::Less => value < self.bound,
            Operator::LessOrEqual => value <= self.bound,
            Operator::Greater => value > self.bound,
            Operator::GreaterOrEqual => value >= self.bound,
            // Figures are kept to a thousandth.
            Operator::Equal => (value - self.bound).abs() < 1e-6 * self.bound.max(1.0),
        }
    }

    /// How much of the bound a figure uses: 1 is just at it, more is beyond. `None` where the bound is 0 or the figure has
    /// to be just that, since there is nothing to use.
    #[must_use]
    pub fn used(&self, value: f64) -> Option<f64> {
        let share = match self.operator {
            Operator::Less | Operator::LessOrEqual => value / self.bound,
            Operator::Greater | Operator::GreaterOrEqual => self.bound / value,
            Operator::Equal => return None,
        };
        (self.bound > 0.0 && share.is_finite()).then_some(share)
    }

    /// What came of it.
    #[must_use]
    pub fn judge(&self, metrics: &Metrics) -> SloReport {
        let measured = metrics.find(&self.name).and_then(|metric| metric.value);
        SloReport {
            slo: self.text.clone(),
            measured,
            unit: self.unit.name().to_owned(),
            met: measured.is_some_and(|value| self.holds(value)),
            used: measured.and_then(|value| self.used(value)),
        }
    }
}

/// The number and its unit, in what the figure is counted in.
fn bound_of(text: &str, bound: &str, definition: &Definition) -> Result<f64, Fault> {
    let number_end = bound.find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '_' | '-' | '+')));
    let (number, unit) = bound.split_at(number_end.unwrap_or(bound.len()));
    if number.is_empty() {
        let place = if bound.is_empty() { &text[text.trim_end().len()..] } else { bound };
        return Err(Fault::at(text, place, "a number is missing".to_owned()));
    }
    let value: Option<f64> = number.replace('_', "").parse().ok().filter(|value: &f64| value.is_finite());
    let value = value.ok_or_else(|| Fault::at(text, number, format!("{number} is no number")))?;
    if value < 0.0 {
        return Err(Fault::at(text, number, format!("{number} is below 0, which no figure is")));
    }
    let unit = unit.trim();
    let allowed = units(definition);
    let found = allowed.iter().find(|(name, _)| *name == unit);
    let (_, scale) = found.ok_or_else(|| {
        let what = format!("{} takes {}", definition.name, listed(allowed));
        let (place, what) = match unit {
            "" => (&text[text.trim_end().len()..], format!("a unit is missing: {what}")),
            unit => (unit, format!("{unit:?} is no unit here: {what}")),
        };
        Fault::at(text, place, what)
    })?;
    Ok(value * scale)
}

/// Units that may stand behind a number, with what one of them is; an empty one means that none need stand there.
fn units(definition: &Definition) -> &'static [(&'static str, f64)] {
    const TIMES: [(&str, f64); 6] = [("ns", 1e-3), ("us", 1.0), ("µs", 1.0), ("ms", 1e3), ("s", 1e6), ("", 1.0)];
    const SIZES: [(&str, f64); 8] = [
        ("B", 1.0),
        ("KB", 1e3),
        ("KiB", 1024.0),
        ("MB", 1e6),
        ("MiB", 1_048_576.0),
        ("GB", 1e9),
        ("GiB", 1_073_741_824.0),
        ("", 1.0),
    ];
    // Where the name says what is counted, a bare number can mean nothing else.
    let bare = usize::from(!definition.name.split(['.', '_']).any(|word| word == "us" || word == "bytes"));
    match definition.unit {
        Unit::Microseconds => &TIMES[..TIMES.len() - bare],
        Unit::Bytes => &SIZES[..SIZES.len() - bare],
        Unit::PerSecond => &[("/s", 1.0), ("", 1.0)],
        Unit::Share => &[("%", 0.01)],
        Unit::Count => &[("", 1.0)],
    }
}

fn listed(units: &[(&str, f64)]) -> String {
    let names: Vec<&str> = units.iter().map(|(name, _)| *name).filter(|name| !name.is_empty()).collect();
    match (names.as_slice(), units.len() > names.len()) {
        ([], _) => "a bare number".to_owned(),
        (names, true) => format!("{}, or none", names.join(", ")),
        (names, false) => names.join(", "),
    }
}

fn operators() -> String {
    let signs: Vec<&str> = OPERATORS.iter().map(|(sign, _)| *sign).collect();
    format!("must be one of {}", signs.join(" "))
}

fn is_operator(c: char) -> bool {
    matches!(c, '<' | '>' | '=' | '!')
}

fn unknown(name: &str, known: &[Definition]) -> String {
    if name.is_empty() {
        return "a name is missing".to_owned();
    }
    let alike =
        known.iter().map(|definition| (strsim::normalized_damerau_levenshtein(name, &definition.name), definition));
    let nearest = alike.max_by(|a, b| a.0.total_cmp(&b.0)).filter(|(likeness, _)| *likeness >= ALIKE);
    match nearest {
        Some((_, definition)) => format!("no figure is called {name:?}: did you mean {:?}?", definition.name),
        None => format!("no figure is called {name:?}: `loadgen metrics` names them"),
    }
}

impl Fault {
    /// At `place`, which is a part of `text`.
    fn at(text: &str, place: &str, what: String) -> Self {
        let bytes = (place.as_ptr() as usize).saturating_sub(text.as_ptr() as usize).min(text.len());
        Self { before: text.get(..bytes).map_or(0, |before| before.chars().count()), what }
    }

    fn at_end(text: &str, what: String) -> Self {
        Self { before: text.trim_end().chars().count(), what }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "character {}: {}", self.before + 1, self.what)
    }
}
