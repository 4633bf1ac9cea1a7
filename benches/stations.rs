//! What each row takes on this machine, for people: `cargo bench -p benches --bench stations`, with a name after `--` to
//! pick some. A time is that of one message, member or the like, which stands behind the row's name; what a run needs to
//! be prepared is not in it.
//!
//! Times depend on the machine and on what else runs there. What CI holds a change against is `benches/gate.rs`.

use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

mod world;

use world::rows::{Row, Work};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[expect(clippy::disallowed_methods, reason = "a bench reads the clock itself")]
fn timed(work: &mut dyn Work) -> Duration {
    let began = Instant::now();
    work.run();
    began.elapsed()
}

/// Runs often enough for so many of the row's units, and returns what these took: a run does all its units at once.
fn of_units(work: &mut dyn Work, units: u32, wanted: u64) -> Duration {
    let runs = wanted.div_ceil(units.into());
    let mut total = Duration::ZERO;
    for _ in 0..runs {
        work.prepare();
        total += timed(work);
    }
    total.mul_f64(wanted as f64 / (runs * u64::from(units)) as f64)
}

fn stations(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("stations");
    group.sample_size(20).measurement_time(Duration::from_secs(2)).throughput(Throughput::Elements(1));
    for row in Row::ALL {
        group.bench_function(BenchmarkId::new(row.name, row.unit), |bencher| {
            let mut work = row.ready();
            bencher.iter_custom(|units| of_units(work.as_mut(), row.units, units));
        });
    }
    group.finish();
}

criterion_group!(benches, stations);
criterion_main!(benches);
