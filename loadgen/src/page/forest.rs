//! Figures beside one another on one axis: a spot with its interval, or a bar.
//!
//! Each row is a drawing of its own whose places are shares of its width, so that it fits any screen with lines as thick
//! and words as large as everywhere. What it shows stands beside it in words.

use std::fmt::Write as _;

use super::escaped;
use crate::metrics::Unit;

/// The axis of all rows.
#[derive(Clone, Copy)]
pub(crate) struct Axis<'a> {
    /// Value at the left edge; above 0 for a logarithmic axis.
    pub(crate) low: f64,
    /// Value at the right edge.
    pub(crate) high: f64,
    /// Whether equal ways are equal factors.
    pub(crate) logarithmic: bool,
    /// How a value of it is written.
    pub(crate) show: &'a dyn Fn(f64) -> String,
}

/// What stands in a row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Shape {
    /// A value, with its ends if they are known.
    Spot(f64, Option<[f64; 2]>),
    /// A bar from the left edge.
    Bar(f64),
}

/// One row.
#[derive(Debug, Clone)]
pub(crate) struct Spot {
    /// What it is, to its left.
    pub(crate) name: String,
    /// The figure in words, to its right.
    pub(crate) told: String,
    /// How it is coloured: `good`, `bad`, `warn` or `plain`.
    pub(crate) class: &'static str,
    /// What is drawn.
    pub(crate) shape: Shape,
}

/// The whole drawing.
pub(crate) struct Forest<'a> {
    pub(crate) title: &'a str,
    pub(crate) note: &'a str,
    pub(crate) axis: Axis<'a>,
    /// A value with a line through all rows.
    pub(crate) mark: Option<f64>,
    /// Values between which all rows are shaded.
    pub(crate) band: Option<[f64; 2]>,
    pub(crate) spots: Vec<Spot>,
}

/// A value with its unit, as short as it can be said: for marks, which are round.
pub(crate) fn short(unit: Unit, value: f64) -> String {
    let text = unit.show(value).to_string();
    match text.split_once(' ') {
        Some((number, name)) if number.contains('.') => {
            format!("{} {name}", number.trim_end_matches('0').trim_end_matches('.'))
        }
        _ => text,
    }
}

/// Marks of an axis at most, beyond which they would stand in one another on a telephone.
const TICKS_COUNT_MAX: usize = 5;

impl<'a> Axis<'a> {
    /// An axis for these values, which are 0 or more: logarithmic if they lie far apart, else from 0.
    pub(crate) fn around(values: impl Iterator<Item = f64>, show: &'a dyn Fn(f64) -> String) -> Self {
        let finite = values.filter(|value| value.is_finite() && *value >= 0.0);
        let (low, high) = finite.fold((f64::INFINITY, 0.0_f64), |(low, high), value| (low.min(value), high.max(value)));
        if low > 0.0 && high > 8.0 * low {
            return Self { low: low / 1.3, high: high * 1.3, logarithmic: true, show };
        }
        Self { low: 0.0, high: if high > 0.0 { high * 1.08 } else { 1.0 }, logarithmic: false, show }
    }

    /// Where a value stands, in hundredths of the width; what is beyond an edge stands at it.
    fn place(&self, value: f64) -> f64 {
        let share = if self.logarithmic {
            (value.max(self.low) / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        if share.is_finite() { (100.0 * share).clamp(0.0, 100.0) } else { 0.0 }
    }

    /// Values that are marked.
    fn ticks(&self) -> Vec<f64> {
        if !self.logarithmic {
            let rough = (self.high - self.low) / 4.0;
            let ten = 10f64.powf(rough.log10().floor());
            let step = [1.0, 2.0, 5.0, 10.0].map(|part| part * ten).into_iter().find(|step| *step >= rough);
            let step = step.unwrap_or(rough);
            let first = (self.low / step).ceil();
            let all = (0..=TICKS_COUNT_MAX).map(|number| (first + number as f64) * step);
            return all.take_while(|tick| *tick <= self.high).take(TICKS_COUNT_MAX).collect();
        }
        let decades = || (-12..=15).map(|power| 10f64.powi(power));
        let inside = |tick: &f64| (self.low..=self.high).contains(tick);
        let tens: Vec<f64> = decades().filter(inside).collect();
        if tens.len() > 2 {
            let every = tens.len().div_ceil(TICKS_COUNT_MAX);
            return tens.into_iter().step_by(every).collect();
        }
        let parts = decades().flat_map(|ten| [1.0, 2.0, 5.0].map(|part| part * ten));
        let parts: Vec<f64> = parts.filter(inside).collect();
        let every = parts.len().div_ceil(TICKS_COUNT_MAX).max(1);
        parts.into_iter().step_by(every).collect()
    }
}

impl Forest<'_> {
    /// Writes the drawing; nothing if there is no row.
    pub(crate) fn write(&self, out: &mut String) {
        if self.spots.is_empty() {
            return;
        }
        let (title, note) = (escaped(self.title), escaped(self.note));
        let _ = write!(out, "<figure class=\"forest\"><figcaption>{title}<span>{note}</span></figcaption>");
        for spot in &self.spots {
            self.write_spot(out, spot);
        }
        *out += "<div class=\"row axis\"><span></span><svg height=\"20\" aria-hidden=\"true\">";
        for tick in self.axis.ticks() {
            let place = self.axis.place(tick);
            let anchor = match place {
                ..6.0 => "start",
                94.0.. => "end",
                _ => "middle",
            };
            let text = escaped(&(self.axis.show)(tick));
            let _ = write!(out, "<text x=\"{place:.2}%\" y=\"14\" text-anchor=\"{anchor}\">{text}</text>");
        }
        *out += "</svg><span></span></div></figure>";
    }

    fn write_spot(&self, out: &mut String, spot: &Spot) {
        let Spot { name, told, class, shape } = spot;
        let (name, told) = (escaped(name), escaped(told));
        let _ = write!(
            out,
            "<div class=\"row\"><span class=\"name\">{name}</span><svg height=\"22\" role=\"img\" aria-label=\"{name}: \
             {told}\">"
        );
        if let Some([from, to]) = self.band {
            let (from, to) = (self.axis.place(from), self.axis.place(to));
            let width = (to - from).max(0.0);
            let _ = write!(out, "<rect class=\"band\" x=\"{from:.2}%\" y=\"0\" width=\"{width:.2}%\" height=\"22\"/>");
        }
        for tick in self.axis.ticks() {
            let place = self.axis.place(tick);
            let _ = write!(out, "<line class=\"grid\" x1=\"{place:.2}%\" x2=\"{place:.2}%\" y1=\"0\" y2=\"22\"/>");
        }
        match *shape {
            Shape::Bar(to) => {
                let to = self.axis.place(to);
                let _ = write!(out, "<rect class=\"fill {class}\" x=\"0\" y=\"6\" width=\"{to:.2}%\" height=\"10\"/>");
            }
            Shape::Spot(middle, ends) => {
                if let Some([low, high]) = ends {
                    let (low, high) = (self.axis.place(low), self.axis.place(high));
                    let _ = write!(
                        out,
                        "<line class=\"ends {class}\" x1=\"{low:.2}%\" x2=\"{high:.2}%\" y1=\"11\" y2=\"11\"/>"
                    );
                }
                let middle = self.axis.place(middle);
                let _ = write!(out, "<circle class=\"fill {class}\" cx=\"{middle:.2}%\" cy=\"11\" r=\"4.5\"/>");
            }
        }
        if let Some(mark) = self.mark {
            let place = self.axis.place(mark);
            let _ = write!(out, "<line class=\"mark\" x1=\"{place:.2}%\" x2=\"{place:.2}%\" y1=\"0\" y2=\"22\"/>");
        }
        let _ = write!(out, "</svg><span class=\"told\">{told}</span></div>");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(value: f64) -> String {
        value.to_string()
    }

    fn axis(low: f64, high: f64, logarithmic: bool) -> Axis<'static> {
        Axis { low, high, logarithmic, show: &plain }
    }

    #[test]
    fn values_stand_where_they_belong_and_never_beyond_an_edge() {
        let check = |axis: Axis<'_>, value: f64, expected: f64| {
            assert!((axis.place(value) - expected).abs() < 1e-6, "{value}: {}", axis.place(value));
        };
        for (value, expected) in [(-1.0, 0.0), (0.0, 0.0), (1.0, 25.0), (4.0, 100.0), (9.0, 100.0), (f64::NAN, 0.0)] {
            check(axis(0.0, 4.0, false), value, expected);
        }
        for (value, expected) in [(0.0, 0.0), (1.0, 0.0), (10.0, 50.0), (100.0, 100.0), (1000.0, 100.0)] {
            check(axis(1.0, 100.0, true), value, expected);
        }
        check(axis(0.0, 0.0, false), 1.0, 0.0);
    }

    #[test]
    fn marks_are_round_and_few() {
        let check = |axis: Axis<'_>, expected: &[f64]| {
            let ticks = axis.ticks();
            assert!(ticks.len() == expected.len(), "{ticks:?}");
            for (tick, expected) in ticks.iter().zip(expected) {
                assert!((tick - expected).abs() < 1e-9 * expected.abs().max(1.0), "{ticks:?}");
            }
        };
        check(axis(0.0, 4.0, false), &[0.0, 1.0, 2.0, 3.0, 4.0]);
        check(axis(-0.07, 0.07, false), &[-0.05, 0.0, 0.05]);
        check(axis(0.0, 1.05, false), &[0.0, 0.5, 1.0]);
        check(axis(0.7, 30.0, true), &[1.0, 2.0, 5.0, 10.0, 20.0]);
        check(axis(0.5, 5000.0, true), &[1.0, 10.0, 100.0, 1000.0]);
        check(axis(0.9, 60.0, true), &[1.0, 5.0, 20.0]);
        let wide = axis(1e-9, 1e12, true).ticks();
        assert!(wide.len() <= TICKS_COUNT_MAX, "{wide:?}");
    }

    #[test]
    fn marks_are_written_short() {
        for (unit, value, expected) in [
            (Unit::Microseconds, 50_000.0, "50 ms"),
            (Unit::Microseconds, 2500.0, "2.5 ms"),
            (Unit::Microseconds, 0.0, "0 us"),
            (Unit::Bytes, 102_400.0, "100 KiB"),
            (Unit::Count, 100.0, "100"),
            (Unit::Share, 0.5, "50 %"),
        ] {
            assert_eq!(short(unit, value), expected);
        }
    }

    #[test]
    fn an_axis_is_logarithmic_where_values_lie_far_apart() {
        let around = |values: &[f64]| {
            let Axis { low, high, logarithmic, .. } = Axis::around(values.iter().copied(), &plain);
            (low, high, logarithmic)
        };
        assert_eq!(around(&[1.0, 8.0]), (0.0, 8.64, false));
        assert!(around(&[1.0, 8.1]).2);
        assert_eq!(around(&[0.0, 100.0]), (0.0, 108.0, false));
        assert_eq!(around(&[]), (0.0, 1.0, false));
        assert_eq!(around(&[f64::NAN, f64::INFINITY, -3.0]), (0.0, 1.0, false));
    }

    #[test]
    fn a_row_says_in_words_what_it_shows() {
        let spot = |shape| Spot { name: "a <b>".to_owned(), told: "1 of 2".to_owned(), class: "good", shape };
        let spots = vec![spot(Shape::Spot(1.0, Some([0.5, 2.0]))), spot(Shape::Spot(1.0, None)), spot(Shape::Bar(3.0))];
        let axis = axis(0.0, 4.0, false);
        let forest = Forest { title: "t", note: "n", axis, mark: Some(2.0), band: Some([1.0, 3.0]), spots };
        let mut text = String::new();
        forest.write(&mut text);
        for (part, count) in [
            ("role=\"img\" aria-label=\"a &lt;b&gt;: 1 of 2\"", 3),
            ("<circle class=\"fill good\" cx=\"25.00%\"", 2),
            ("<line class=\"ends good\" x1=\"12.50%\" x2=\"50.00%\"", 1),
            ("<rect class=\"fill good\" x=\"0\" y=\"6\" width=\"75.00%\"", 1),
            ("<rect class=\"band\" x=\"25.00%\" y=\"0\" width=\"50.00%\"", 3),
            ("<line class=\"mark\" x1=\"50.00%\"", 3),
            ("<text x=\"0.00%\" y=\"14\" text-anchor=\"start\">0</text>", 1),
            ("<text x=\"100.00%\" y=\"14\" text-anchor=\"end\">4</text>", 1),
        ] {
            assert_eq!(text.matches(part).count(), count, "{part}\n{text}");
        }
        let mut none = String::new();
        Forest { spots: Vec::new(), ..forest }.write(&mut none);
        assert_eq!(none, "");
    }
}
