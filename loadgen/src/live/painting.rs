//! What the screen shows: stage and progress, rates, latencies, a graph, and how generator and server fare.

use std::borrow::Cow;
use std::ffi::OsString;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::symbols::{bar, border};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Cell, LineGauge, Paragraph, Row, Sparkline, Table};

use crate::limits::SECOND_NS;
use crate::live::lines::time;
use crate::live::watcher::{Latencies, Picture};

/// With colours, or without: `NO_COLOR` asks for the latter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Palette {
    Colored,
    Plain,
}

impl Palette {
    /// What the environment asks for (no-color.org).
    pub(super) fn of_environment() -> Self {
        let asked = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        if asked { Self::Plain } else { Self::Colored }
    }

    fn of(self, color: Color) -> Style {
        if self == Self::Colored { Style::new().fg(color) } else { Style::new() }
    }

    fn label(self) -> Style {
        if self == Self::Colored { Style::new().fg(Color::DarkGray) } else { Style::new() }
    }
}

/// What bars and lines are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Signs {
    /// Blocks of Unicode.
    Blocks,
    /// ASCII, which every terminal shows.
    Ascii,
}

impl Signs {
    /// What the locale allows: the first of its variables that is set tells the terminal's encoding.
    pub(super) fn of_environment() -> Self {
        Self::of_locale(["LC_ALL", "LC_CTYPE", "LANG"].map(|name| std::env::var_os(name).unwrap_or_default()))
    }

    fn of_locale(variables: [OsString; 3]) -> Self {
        let first = variables.iter().find(|value| !value.is_empty());
        let name = first.map(|value| value.to_string_lossy().to_ascii_lowercase()).unwrap_or_default();
        if name.contains("utf-8") || name.contains("utf8") { Self::Blocks } else { Self::Ascii }
    }

    const fn progress(self) -> (&'static str, &'static str) {
        match self {
            Self::Blocks => ("█", "░"),
            Self::Ascii => ("#", "."),
        }
    }

    const fn bars(self) -> bar::Set<'static> {
        match self {
            Self::Blocks => bar::NINE_LEVELS,
            Self::Ascii => bar::Set {
                full: "#",
                seven_eighths: "%",
                three_quarters: "*",
                five_eighths: "+",
                half: "=",
                three_eighths: "-",
                one_quarter: ":",
                one_eighth: ".",
                empty: " ",
            },
        }
    }

    const fn border(self) -> border::Set<'static> {
        match self {
            Self::Blocks => border::PLAIN,
            Self::Ascii => border::Set { horizontal_top: "-", ..border::PLAIN },
        }
    }

    /// A text from outside in what the terminal shows.
    fn shown(self, text: &str) -> String {
        match self {
            Self::Blocks => text.to_owned(),
            Self::Ascii => text.chars().map(|c| if c.is_ascii() { c } else { '?' }).collect(),
        }
    }
}

/// Columns and rows from which on all blocks have room; the graph takes what is over.
const WHOLE_COLUMNS: u16 = 58;
const WHOLE_ROWS: u16 = 18;
/// Rows of it that are neither figures nor graph.
const FIXED_ROWS: u16 = 11;
/// Columns from which on the table of latencies has its full titles.
const WIDE_COLUMNS: u16 = 76;

/// Paints the screen: everything on one of usual size, what matters most on a smaller one.
pub(super) fn paint(frame: &mut Frame<'_>, picture: &Picture, now_ns: u64, palette: Palette, signs: Signs) {
    let area = frame.area();
    if area.width >= WHOLE_COLUMNS && area.height >= WHOLE_ROWS {
        paint_whole(frame, picture, now_ns, palette, signs);
    } else {
        paint_small(frame, picture, now_ns, palette, signs);
    }
}

fn paint_whole(frame: &mut Frame<'_>, picture: &Picture, now_ns: u64, palette: Palette, signs: Signs) {
    let area = frame.area();
    let rows = [connections(picture).into(), rates(picture).into(), fares(picture)];
    let mut lines: Vec<Line<'_>> =
        rows.into_iter().flat_map(|figures: Vec<Figure>| flow(figures, area.width, palette)).collect();
    let spare = usize::from(area.height).saturating_sub(usize::from(FIXED_ROWS) + lines.len());
    lines.extend(flow(kinds(picture, signs), area.width, palette).into_iter().take(spare));
    let rows = u16::try_from(lines.len()).unwrap_or(u16::MAX);
    let areas: [Rect; 7] = Layout::vertical([
        Constraint::Length(2),
        Constraint::Length(2),
        Constraint::Length(rows),
        Constraint::Length(1),
        Constraint::Length(5),
        Constraint::Min(0),
        Constraint::Length(1),
    ])
    .areas(area);
    let [title, gauge, figures, _, latencies, graph, keys] = areas;
    frame.render_widget(Paragraph::new(heading(picture, now_ns, palette, signs)), title);
    paint_progress(frame, gauge, picture, now_ns, palette, signs);
    frame.render_widget(Paragraph::new(lines), figures);
    frame.render_widget(table(picture, area.width, palette), latencies);
    paint_graph(frame, graph, picture, palette, signs);
    let help = Line::styled("q or Ctrl-C ends the run early and keeps its result", palette.label());
    frame.render_widget(Paragraph::new(help), keys);
}

/// Stage, progress, and as many figures as there is room for, the most telling first; the keys where a row is left.
fn paint_small(frame: &mut Frame<'_>, picture: &Picture, now_ns: u64, palette: Palette, signs: Signs) {
    let area = frame.area();
    let help = u16::from(area.height >= SMALL_ROWS_WITH_KEYS);
    let areas: [Rect; 4] =
        Layout::vertical([Constraint::Length(1), Constraint::Length(1), Constraint::Min(0), Constraint::Length(help)])
            .areas(area);
    let [stage, gauge, figures, keys] = areas;
    let bold = Style::new().add_modifier(Modifier::BOLD);
    let name = picture.stage.map_or("starting", |stage| stage.name);
    let line =
        vec![Span::styled(name, bold), Span::styled(format!("  {}", signs.shown(&picture.title)), palette.label())];
    frame.render_widget(Paragraph::new(Line::from(line)), stage);
    paint_progress(frame, gauge, picture, now_ns, palette, signs);
    let mut all = Vec::new();
    if let Some([p50, _, p99, ..]) = picture.last {
        all.extend([Figure::new("p99", time(p99)), Figure::new("p50", time(p50))]);
    }
    let [open, connecting] = connections(picture);
    all.extend([faults(picture), open, connecting]);
    all.extend(rates(picture));
    all.extend(fares(picture).into_iter().skip(1));
    frame.render_widget(Paragraph::new(flow(all, area.width, palette)), figures);
    frame.render_widget(Paragraph::new(Line::styled("q ends the run", palette.label())), keys);
}

/// Rows of a small screen from which on the last is for the keys.
const SMALL_ROWS_WITH_KEYS: u16 = 5;

fn heading(picture: &Picture, now_ns: u64, palette: Palette, signs: Signs) -> Vec<Line<'_>> {
    let bold = Style::new().add_modifier(Modifier::BOLD);
    let stage = picture.stage.map_or("starting", |stage| stage.name);
    let measured = picture.stage.is_some_and(|stage| stage.measured);
    let mut second = vec![Span::styled(stage, bold)];
    if measured {
        second.push(Span::styled("  measured", palette.of(Color::Cyan)));
    }
    second.push(Span::styled(format!("  {} since the start", clock(now_ns)), palette.label()));
    vec![
        Line::from(vec![Span::styled("loadgen  ", palette.label()), Span::styled(signs.shown(&picture.title), bold)]),
        Line::from(second),
    ]
}

/// How far a stage is: connections while they are opened, else its time.
fn paint_progress(frame: &mut Frame<'_>, area: Rect, picture: &Picture, now_ns: u64, palette: Palette, signs: Signs) {
    let Some(stage) = picture.stage else { return };
    let (done, all, label) = match stage.until_ns {
        Some(until_ns) => {
            let all = until_ns.saturating_sub(picture.stage_from_ns);
            let done = now_ns.saturating_sub(picture.stage_from_ns).min(all);
            // To the nearest second: a stage begins some microseconds after what it follows.
            (done, all, format!("{} of {}", clock(done), clock(all.saturating_add(SECOND_NS / 2))))
        }
        None => (picture.point.open, picture.wanted, format!("{} of {}", picture.point.open, picture.wanted)),
    };
    let ratio = if all > 0 { (done as f64 / all as f64).clamp(0.0, 1.0) } else { 0.0 };
    // Two signs, since there may be no colours.
    let (filled, unfilled) = signs.progress();
    let gauge = LineGauge::default().ratio(ratio).label(label).filled_symbol(filled).unfilled_symbol(unfilled);
    frame.render_widget(gauge.filled_style(palette.of(Color::Cyan)).unfilled_style(palette.label()), area);
}

/// A figure with its name.
struct Figure {
    name: Cow<'static, str>,
    value: String,
    /// Whether it is a reason to look.
    bad: bool,
}

impl Figure {
    fn new(name: impl Into<Cow<'static, str>>, value: String) -> Self {
        Self { name: name.into(), value, bad: false }
    }

    fn columns(&self) -> usize {
        self.name.chars().count() + 1 + self.value.chars().count()
    }
}

fn connections(picture: &Picture) -> [Figure; 2] {
    let point = &picture.point;
    [
        Figure::new("open", format!("{} of {}", point.open, picture.wanted)),
        Figure::new("connecting", point.connecting.to_string()),
    ]
}

fn rates(picture: &Picture) -> [Figure; 4] {
    let point = &picture.point;
    let received = if point.span_s > 0.0 { point.bytes as f64 / point.span_s } else { 0.0 };
    [
        Figure::new("published", format!("{:.0}/s", point.published_per_s())),
        Figure::new("delivered", format!("{:.0}/s", point.delivered_per_s())),
        Figure::new("received", format!("{}/s", mebi(received))),
        Figure::new("in all", format!("{} and {}", picture.published, picture.delivered)),
    ]
}

fn faults(picture: &Picture) -> Figure {
    let faults = picture.point.faults;
    Figure { bad: faults > 0, ..Figure::new("faults", faults.to_string()) }
}

/// How checks, generator and server fare.
fn fares(picture: &Picture) -> Vec<Figure> {
    let point = &picture.point;
    let mut figures = vec![faults(picture), Figure::new("sends late, p99", time(point.lateness_p99_us))];
    figures.extend(point.server_busy.map(|busy| Figure::new("server CPU", format!("{:.0} %", 100.0 * busy))));
    figures.extend(point.server_anonymous_bytes.map(|bytes| Figure::new("memory", mebi(bytes as f64))));
    figures
}

/// What came of each kind in the last second, and the slowest of it.
fn kinds(picture: &Picture, signs: Signs) -> impl Iterator<Item = Figure> {
    picture.kinds.iter().map(move |kind| {
        let slowest = if kind.per_s > 0.0 { format!(" max {}", time(kind.slowest_us)) } else { String::new() };
        Figure::new(signs.shown(&kind.name), format!("{:.0}/s{slowest}", kind.per_s))
    })
}

fn mebi(bytes: f64) -> String {
    format!("{:.1} MiB", bytes / 1_048_576.0)
}

/// Lines of whole figures: one that does not fit begins the next line.
fn flow(figures: impl IntoIterator<Item = Figure>, columns: u16, palette: Palette) -> Vec<Line<'static>> {
    const GAP: &str = "  ";
    let mut lines: Vec<Line<'static>> = Vec::new();
    let mut used = usize::MAX;
    for figure in figures {
        let needed = figure.columns();
        if used.saturating_add(GAP.len() + needed) > usize::from(columns) {
            lines.push(Line::default());
            used = 0;
        }
        let Some(line) = lines.last_mut() else { continue };
        if used > 0 {
            line.push_span(GAP);
            used += GAP.len();
        }
        line.push_span(Span::styled(format!("{} ", figure.name), palette.label()));
        let bad = palette.of(Color::Red).add_modifier(Modifier::BOLD);
        line.push_span(Span::styled(figure.value, if figure.bad { bad } else { Style::new() }));
        used += needed;
    }
    lines
}

fn table<'a>(picture: &Picture, columns: u16, palette: Palette) -> Table<'a> {
    let row = |name: &'static str, of: Option<Latencies>| {
        let cells = of.map_or_else(|| vec!["-".to_owned(); 5], |of| of.map(time).to_vec());
        let cells = cells.into_iter().map(|text| Cell::from(Line::from(text).right_aligned()));
        Row::new(std::iter::once(Cell::from(name)).chain(cells))
    };
    let titles = ["latency", "p50", "p90", "p99", "p99.9", "max"].into_iter().enumerate();
    let titles = titles.map(|(at, title)| {
        let line = Line::from(title);
        Cell::from(if at > 0 { line.right_aligned() } else { line })
    });
    let (widths, uncorrected) =
        if columns >= WIDE_COLUMNS { ([26, 9, 9, 9, 9, 9], "measured, from actual send") } else { NARROW };
    let rows = [
        row("last second", picture.last),
        row("measured", picture.measured()),
        row(uncorrected, picture.measured_uncorrected()),
    ];
    Table::new(rows, widths.map(Constraint::Length)).header(Row::new(titles).style(palette.label()))
}

/// Columns of the table, and the title of its last row, where there is not room for more.
const NARROW: ([u16; 6], &str) = ([12, 8, 8, 8, 8, 8], "actual send");

fn paint_graph(frame: &mut Frame<'_>, area: Rect, picture: &Picture, palette: Palette, signs: Signs) {
    let shown = usize::from(area.width);
    let values: Vec<u64> = picture.graph.iter().skip(picture.graph.len().saturating_sub(shown)).copied().collect();
    let most = values.iter().max().copied().unwrap_or(0);
    let title = format!("p99 of each second, up to {}", time(most as f64));
    let block = Block::new().borders(Borders::TOP).title(title).border_style(palette.label());
    let block = block.border_set(signs.border());
    frame.render_widget(
        Sparkline::default().block(block).bar_set(signs.bars()).data(&values).style(palette.of(Color::Cyan)),
        area,
    );
}

/// Minutes and seconds.
fn clock(ns: u64) -> String {
    let seconds = ns / SECOND_NS;
    format!("{}:{:02}", seconds / 60, seconds % 60)
}

#[cfg(test)]
mod tests;
