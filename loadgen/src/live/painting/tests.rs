use super::*;
use crate::live::recorder::Stage;
use crate::report::Point;
use expect_test::{Expect, expect};
use ratatui::Terminal;
use ratatui::backend::TestBackend;

fn picture() -> Picture {
    let mut picture = Picture::new("trips-10k on 127.0.0.1:8000".to_owned());
    picture.stage = Some(Stage { number: 3, name: "measure", measured: true, until_ns: Some(69_999_990_000) });
    picture.stage_from_ns = 10_000_000_000;
    picture.wanted = 10_000;
    (picture.published, picture.delivered) = (50_000, 150_000);
    picture.point = Point {
        span_s: 1.0,
        open: 9_990,
        connecting: 10,
        published: 10_000,
        delivered: 30_000,
        bytes: 3 * 1_048_576,
        lateness_p99_us: 52.0,
        faults: 2,
        server_busy: Some(0.34),
        server_anonymous_bytes: Some(100 * 1_048_576),
        ..Point::default()
    };
    picture.last = Some([43.0, 90.0, 2100.0, 5000.0, 9000.0]);
    picture.graph.extend([100, 2100, 700, 50, 1400]);
    picture
}

fn ramping() -> Picture {
    let mut picture = picture();
    picture.stage = Some(Stage { number: 1, name: "connect", measured: false, until_ns: None });
    picture.point = Point { span_s: 1.0, open: 4_000, connecting: 256, ..Point::default() };
    picture.last = None;
    picture
}

/// The cells as text, and whether any has a colour.
fn painted(picture: &Picture, size: (u16, u16), palette: Palette) -> (String, bool) {
    painted_with(picture, size, palette, Signs::Blocks)
}

fn painted_with(picture: &Picture, (width, height): (u16, u16), palette: Palette, signs: Signs) -> (String, bool) {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| paint(frame, picture, 25_000_000_000, palette, signs)).unwrap();
    let buffer = terminal.backend().buffer();
    let colored = buffer.content.iter().any(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset);
    let rows = buffer.content.chunks(usize::from(width).max(1));
    let row = |row: &[ratatui::buffer::Cell]| row.iter().map(ratatui::buffer::Cell::symbol).collect::<String>();
    (rows.map(|cells| row(cells).trim_end().to_owned() + "\n").collect(), colored)
}

fn check(picture: &Picture, size: (u16, u16), expected: &Expect) {
    expected.assert_eq(&painted(picture, size, Palette::Colored).0);
}

#[test]
fn a_large_screen_has_everything_and_a_tall_graph() {
    check(
        &picture(),
        (120, 40),
        &expect![[r#"
        loadgen  trips-10k on 127.0.0.1:8000
        measure  measured  0:25 since the start
        0:15 of 1:00 ██████████████████████████░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░

        open 9990 of 10000  connecting 10
        published 10000/s  delivered 30000/s  received 3.0 MiB/s  in all 50000 and 150000
        faults 2  sends late, p99 52us  server CPU 34 %  memory 100.0 MiB

        latency                          p50       p90       p99     p99.9       max
        last second                     43us      90us     2.1ms     5.0ms     9.0ms
        measured                           -         -         -         -         -
        measured, from actual send         -         -         -         -         -

        p99 of each second, up to 2.1ms─────────────────────────────────────────────────────────────────────────────────────────
         █
         █
         █
         █
         █
         █
         █
         █
         █  ▅
         █  █
         █  █
         █  █
         █  █
         █  █
         █  █
         █  █
         █▂ █
         ██ █
         ██ █
         ██ █
         ██ █
         ██ █
         ██ █
        ▁██ █
        ███▄█
        q or Ctrl-C ends the run early and keeps its result
    "#]],
    );
}

#[test]
fn a_usual_screen_has_everything() {
    check(
        &picture(),
        (80, 24),
        &expect![[r#"
        loadgen  trips-10k on 127.0.0.1:8000
        measure  measured  0:25 since the start
        0:15 of 1:00 ████████████████░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░

        open 9990 of 10000  connecting 10
        published 10000/s  delivered 30000/s  received 3.0 MiB/s
        in all 50000 and 150000
        faults 2  sends late, p99 52us  server CPU 34 %  memory 100.0 MiB

        latency                          p50       p90       p99     p99.9       max
        last second                     43us      90us     2.1ms     5.0ms     9.0ms
        measured                           -         -         -         -         -
        measured, from actual send         -         -         -         -         -

        p99 of each second, up to 2.1ms─────────────────────────────────────────────────
         █
         █
         █  ▂
         █  █
         █  █
         █▅ █
         ██ █
        ▃██▁█
        q or Ctrl-C ends the run early and keeps its result
    "#]],
    );
}

#[test]
fn a_narrow_screen_has_everything_in_more_lines_and_shorter_words() {
    check(
        &picture(),
        (60, 20),
        &expect![[r#"
        loadgen  trips-10k on 127.0.0.1:8000
        measure  measured  0:25 since the start
        0:15 of 1:00 ███████████░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░

        open 9990 of 10000  connecting 10
        published 10000/s  delivered 30000/s  received 3.0 MiB/s
        in all 50000 and 150000
        faults 2  sends late, p99 52us  server CPU 34 %
        memory 100.0 MiB

        latency           p50      p90      p99    p99.9      max
        last second      43us     90us    2.1ms    5.0ms    9.0ms
        measured            -        -        -        -        -
        actual send         -        -        -        -        -

        p99 of each second, up to 2.1ms─────────────────────────────
         █
         █  █
        ▁██ █
        q or Ctrl-C ends the run early and keeps its result
    "#]],
    );
}

#[test]
fn a_tiny_screen_has_the_stage_and_what_is_most_telling() {
    check(
        &picture(),
        (20, 5),
        &expect![[r#"
        measure  trips-10k o
        0:15 of 1:00 █░░░░░░
        p99 2.1ms  p50 43us
        faults 2
        q ends the run
    "#]],
    );
}

#[test]
fn a_screen_one_row_or_column_too_small_for_everything_is_a_small_one() {
    check(
        &picture(),
        (WHOLE_COLUMNS, WHOLE_ROWS - 1),
        &expect![[r#"
        measure  trips-10k on 127.0.0.1:8000
        0:15 of 1:00 ███████████░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░
        p99 2.1ms  p50 43us  faults 2  open 9990 of 10000
        connecting 10  published 10000/s  delivered 30000/s
        received 3.0 MiB/s  in all 50000 and 150000
        sends late, p99 52us  server CPU 34 %  memory 100.0 MiB










        q ends the run
    "#]],
    );
    let graph = |size| painted(&picture(), size, Palette::Colored).0.contains("p99 of each second");
    let (columns, rows) = (WHOLE_COLUMNS, WHOLE_ROWS);
    assert!(graph((columns, rows)) && graph((columns + 1, rows + 1)));
    assert!(!graph((columns - 1, rows)) && !graph((columns, rows - 1)));
}

#[test]
fn while_connections_are_opened_they_are_the_progress() {
    check(
        &ramping(),
        (80, 24),
        &expect![[r#"
        loadgen  trips-10k on 127.0.0.1:8000
        connect  0:25 since the start
        4000 of 10000 ██████████████████████████░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░

        open 4000 of 10000  connecting 256
        published 0/s  delivered 0/s  received 0.0 MiB/s  in all 50000 and 150000
        faults 0  sends late, p99 0us

        latency                          p50       p90       p99     p99.9       max
        last second                        -         -         -         -         -
        measured                           -         -         -         -         -
        measured, from actual send         -         -         -         -         -

        p99 of each second, up to 2.1ms─────────────────────────────────────────────────
         █
         █
         █
         █  █
         █  █
         █  █
         ██ █
         ██ █
        ▃██▁█
        q or Ctrl-C ends the run early and keeps its result
    "#]],
    );
    check(
        &ramping(),
        (20, 5),
        &expect![[r#"
        connect  trips-10k o
        4000 of 10000 ██░░░░
        faults 0
        open 4000 of 10000
        q ends the run
    "#]],
    );
}

#[test]
fn before_the_first_second_there_is_a_screen_too() {
    check(
        &Picture::new("smoke on localhost".to_owned()),
        (60, 20),
        &expect![[r#"
        loadgen  smoke on localhost
        starting  0:25 since the start


        open 0 of 0  connecting 0
        published 0/s  delivered 0/s  received 0.0 MiB/s
        in all 0 and 0
        faults 0  sends late, p99 0us

        latency           p50      p90      p99    p99.9      max
        last second         -        -        -        -        -
        measured            -        -        -        -        -
        actual send         -        -        -        -        -

        p99 of each second, up to 0us───────────────────────────────




        q or Ctrl-C ends the run early and keeps its result
    "#]],
    );
}

#[test]
fn without_colours_there_is_none_and_progress_is_still_seen() {
    for size in [(120, 40), (80, 24), (60, 20), (20, 5)] {
        let (text, colored) = painted(&picture(), size, Palette::Plain);
        assert!(!colored && text.contains('█') && text.contains('░'), "{size:?}\n{text}");
        assert!(painted(&picture(), size, Palette::Colored).1, "{size:?}");
    }
}

#[test]
fn every_size_can_be_painted_and_no_figure_is_cut_where_there_is_room_for_one() {
    let empty = Picture::new(String::new());
    for width in (0..=100).chain([300]) {
        for height in (0..=22).chain([80]) {
            for picture in [&empty, &picture(), &ramping()] {
                let (text, _) = painted(picture, (width, height), Palette::Colored);
                assert_eq!(text.lines().count(), if width > 0 { usize::from(height) } else { 0 });
            }
        }
        if width >= 20 {
            let (text, _) = painted(&picture(), (width, 24), Palette::Colored);
            let parts = ["p99", "2.1ms", "faults 2", "open 9990 of 10000", "published 10000/s", "delivered 30000/s"];
            assert!(parts.iter().all(|part| text.contains(part)), "{width}\n{text}");
        }
    }
}

#[test]
fn the_locale_tells_what_a_terminal_shows() {
    for (all, ctype, lang, expected) in [
        ("", "", "en_US.UTF-8", Signs::Blocks),
        ("", "de_DE.utf8", "C", Signs::Blocks),
        ("C.UTF-8", "C", "C", Signs::Blocks),
        ("C", "en_US.UTF-8", "en_US.UTF-8", Signs::Ascii),
        ("", "", "ja_JP.eucJP", Signs::Ascii),
        ("", "", "POSIX", Signs::Ascii),
        ("", "", "", Signs::Ascii),
    ] {
        assert_eq!(Signs::of_locale([all, ctype, lang].map(OsString::from)), expected, "{all} {ctype} {lang}");
    }
}

#[test]
fn without_unicode_everything_is_ascii_whatever_the_names() {
    let mut picture = picture();
    picture.title = "größe \u{1b}[31m 部屋 on 127.0.0.1:8000".to_owned();
    for size in [(120, 40), (80, 24), (60, 20), (20, 5), (1, 1)] {
        let (text, _) = painted_with(&picture, size, Palette::Plain, Signs::Ascii);
        assert!(text.chars().all(|c| c == '\n' || (' '..='~').contains(&c)), "{size:?}\n{text}");
    }
    let (text, _) = painted_with(&picture, (80, 24), Palette::Plain, Signs::Ascii);
    assert!(text.contains("0:15 of 1:00 ####") && text.contains("p99 of each second, up to 2.1ms---"), "{text}");
    assert!(text.contains("gr??e"), "{text}");
}

#[test]
fn absurd_figures_and_names_are_painted_in_every_size() {
    let mut picture = picture();
    picture.title = "x".repeat(10_000);
    picture.wanted = u64::MAX;
    (picture.published, picture.delivered) = (u64::MAX, u64::MAX);
    picture.point = Point {
        span_s: f64::MIN_POSITIVE,
        open: u64::MAX,
        connecting: u64::MAX,
        published: u64::MAX,
        delivered: u64::MAX,
        bytes: u64::MAX,
        lateness_p99_us: f64::MAX,
        faults: u64::MAX,
        server_busy: Some(f64::INFINITY),
        server_anonymous_bytes: Some(u64::MAX),
        ..Point::default()
    };
    picture.last = Some([f64::NAN, f64::INFINITY, -1.0, 0.0, f64::MAX]);
    picture.graph.extend([u64::MAX, 0, u64::MAX]);
    for size in [(300, 80), (80, 24), (58, 18), (57, 17), (20, 5), (2, 2), (1, 1), (0, 0)] {
        for signs in [Signs::Blocks, Signs::Ascii] {
            let (text, _) = painted_with(&picture, size, Palette::Colored, signs);
            assert!(text.lines().all(|line| line.chars().count() <= usize::from(size.0)), "{size:?}\n{text}");
        }
    }
}
