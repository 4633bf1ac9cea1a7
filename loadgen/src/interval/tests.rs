use super::*;

/// Samples around 1 of one shape; all three have the median 1.
#[derive(Debug, Clone, Copy)]
enum Shape {
    Even,
    Bell,
    /// A long tail upwards, as latencies have.
    Skewed,
}

impl Shape {
    fn draw(self, random: &mut fastrand::Rng) -> f64 {
        let mut even = || random.f64();
        match self {
            Self::Even => 0.9 + 0.2 * even(),
            Self::Bell => 1.0 + 0.05 * ((0..12).map(|_| even()).sum::<f64>() - 6.0),
            Self::Skewed => 0.9 - (1.0 - even()).ln() * 0.1 / std::f64::consts::LN_2,
        }
    }

    fn samples(self, count: usize, random: &mut fastrand::Rng) -> Vec<f64> {
        (0..count).map(|_| self.draw(random)).collect()
    }
}

/// Draws of one experiment: fewer than a report's, since it is the experiments that are many.
const DRAWS: usize = 300;

/// Share of 400 experiments for which `holds` is true.
fn share(holds: impl Fn(&mut fastrand::Rng) -> bool) -> f64 {
    let mut random = fastrand::Rng::with_seed(7);
    f64::from((0..400).map(|_| u32::from(holds(&mut random))).sum::<u32>()) / 400.0
}

#[test]
fn the_interval_of_a_median_covers_it_as_often_as_it_says() {
    for shape in [Shape::Even, Shape::Bell, Shape::Skewed] {
        for count in [5, 10, 15] {
            let covered = share(|random| {
                let samples = shape.samples(count, random);
                let draws = Draws::new(&[&samples], SEED, DRAWS, |medians| medians[0]).unwrap();
                draws.interval().holds(1.0)
            });
            assert!((0.90..=0.985).contains(&covered), "{shape:?} {count}: {covered}");
        }
    }
}

#[test]
fn the_upper_bound_lies_above_the_median_as_often_as_it_says() {
    for shape in [Shape::Even, Shape::Bell, Shape::Skewed] {
        let above = share(|random| {
            let samples = shape.samples(15, random);
            Draws::new(&[&samples], SEED, DRAWS, |medians| medians[0]).unwrap().upper() >= 1.0
        });
        assert!((0.91..=0.985).contains(&above), "{shape:?}: {above}");
    }
}

#[test]
fn the_interval_of_a_change_covers_none_and_a_tenth_as_often_as_it_says() {
    for (shape, factor) in [(Shape::Bell, 1.0), (Shape::Skewed, 1.0), (Shape::Bell, 1.1), (Shape::Skewed, 1.1)] {
        let covered = share(|random| {
            let a = shape.samples(5, random);
            let b: Vec<f64> = shape.samples(5, random).iter().map(|value| value * factor).collect();
            let draws = Draws::new(&[&a, &b], SEED, DRAWS, |medians| medians[1] / medians[0]).unwrap();
            draws.interval().holds(factor)
        });
        assert!((0.92..=0.998).contains(&covered), "{shape:?} {factor}: {covered}");
    }
}

#[test]
fn known_samples_have_known_intervals() {
    let five = [3.0, 1.0, 2.0, 5.0, 4.0];
    let draws = Draws::of_median(&five, SEED).unwrap();
    // The median of five is the smallest in 5.8 % of the draws, so both ends of the interval are the samples' own.
    assert_eq!(draws.interval(), Interval { low: 1.0, high: 5.0 });
    assert_eq!(Draws::of_median(&[2.0; 7], SEED).unwrap().interval(), Interval { low: 2.0, high: 2.0 });
    let (low, high) = ([10.0; 5], [11.0; 5]);
    let change = Draws::of_both(&low, &high, SEED, |a, b| b / a - 1.0).unwrap();
    assert!((change.interval().low - 0.1).abs() < 1e-12 && (change.upper() - 0.1).abs() < 1e-12);
}

#[test]
fn the_same_seed_gives_the_same_draws_and_another_gives_others() {
    let samples: Vec<f64> = (0..9).map(|number| f64::from(number * number)).collect();
    let draws = |seed| Draws::of_median(&samples, seed).unwrap().sorted;
    assert_eq!(draws(1), draws(1));
    assert_ne!(draws(1), draws(2));
    assert_eq!(draws(1).len(), BOOTSTRAP_DRAWS_COUNT);
}

#[test]
fn fewer_than_five_samples_give_no_interval() {
    assert_eq!(REPEATS_COUNT_MIN, 5);
    for count in 0..5 {
        assert!(Draws::of_median(&vec![1.0; count], SEED).is_none());
        assert!(Draws::of_both(&[1.0; 5], &vec![1.0; count], SEED, |a, _| a).is_none());
    }
    assert!(Draws::of_median(&[1.0; 5], SEED).is_some());
}

#[test]
fn quantiles_lie_between_neighbours() {
    for (sorted, at, expected) in [
        (&[3.0][..], 0.5, 3.0),
        (&[1.0, 2.0], 0.5, 1.5),
        (&[1.0, 2.0, 4.0], 0.5, 2.0),
        (&[1.0, 2.0, 4.0], 0.75, 3.0),
        (&[1.0, 2.0, 4.0], 1.0, 4.0),
        (&[1.0, 2.0, 4.0], 0.0, 1.0),
        (&[1.0, f64::INFINITY, f64::INFINITY], 0.9, f64::INFINITY),
    ] {
        let found = quantile(sorted, at);
        assert!(found == expected || (found - expected).abs() < 1e-12, "{sorted:?} {at}: {found}");
    }
    assert!(quantile(&[], 0.5).is_nan());
    assert!((median(&mut [4.0, 1.0, 2.0]) - 2.0).abs() < 1e-12);
}

#[test]
fn the_sign_test_counts_sides() {
    let check = |above: usize, below: usize, expected: f64| {
        let values: Vec<f64> = std::iter::repeat_n(2.0, above).chain(std::iter::repeat_n(0.5, below)).collect();
        let found = sign_test(&values, 1.0);
        assert!((found - expected).abs() < 1e-6, "{above} above, {below} below: {found}");
    };
    check(5, 0, 0.0625);
    check(0, 5, 0.0625);
    check(10, 0, 0.001_953);
    check(12, 3, 0.035_156);
    check(7, 8, 1.0);
    check(0, 0, 1.0);
    check(500, 500, 1.0);
    assert!((sign_test(&[1.0, 1.0, 2.0], 1.0) - 1.0).abs() < 1e-12, "what lies in the middle is left out");
}
