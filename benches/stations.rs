//! What each row takes on this machine, for people: `cargo bench -p benches --bench stations`, with a name after `--` to
//! pick some.
//!
//! Times depend on the machine and on what else runs there. What CI holds a change against is `benches/gate.rs`.

use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};

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

fn stations(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("stations");
    group.sample_size(20).measurement_time(Duration::from_secs(2));
    for row in Row::ALL {
        group.throughput(Throughput::Elements(row.units.into()));
        group.bench_function(format!("{} ({})", row.name, row.unit), |bencher| {
            let mut work = row.ready();
            bencher.iter_custom(|rounds| {
                let mut total = Duration::ZERO;
                for _ in 0..rounds {
                    work.prepare();
                    total += timed(work.as_mut());
                }
                total
            });
        });
    }
    group.finish();
}

criterion_group!(benches, stations);
criterion_main!(benches);
