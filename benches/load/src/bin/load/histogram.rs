//! Latencies in logarithmic buckets: 64 per power of two, so a percentile is exact to 1.6 % at any scale, recording is
//! a shift and an addition, and a thousand million samples take no more memory than one.

const SUB_BITS: u32 = 6;
const SUB_BUCKETS: usize = 1 << SUB_BITS;
const BUCKETS: usize = (64 - SUB_BITS as usize + 1) * SUB_BUCKETS;

/// Counts of nanoseconds.
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
    max_ns: u64,
}

impl Histogram {
    pub fn new() -> Self {
        Histogram {
            counts: vec![0; BUCKETS],
            total: 0,
            max_ns: 0,
        }
    }

    #[inline]
    pub fn record(&mut self, ns: u64) {
        self.counts[bucket_of(ns)] += 1;
        self.total += 1;
        self.max_ns = self.max_ns.max(ns);
    }

    pub fn max_ns(&self) -> u64 {
        self.max_ns
    }

    /// The value that a share of the samples (0.99 for p99) does not exceed; 0 without samples.
    pub fn quantile_ns(&self, share: f64) -> u64 {
        let wanted = (self.total as f64 * share).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return middle_of(bucket).min(self.max_ns);
            }
        }
        self.max_ns
    }
}

/// Values below 128 have a bucket each. Above, a value is shifted until seven bits are left, the highest of them set;
/// each shift has a row of 64 buckets, and that highest bit moves row after row up by one, so no bucket is unused.
#[inline]
fn bucket_of(ns: u64) -> usize {
    let shift = (63 - SUB_BITS).saturating_sub(ns.leading_zeros());
    shift as usize * SUB_BUCKETS + (ns >> shift) as usize
}

fn middle_of(bucket: usize) -> u64 {
    if bucket < 2 * SUB_BUCKETS {
        return bucket as u64;
    }
    let shift = bucket / SUB_BUCKETS - 1;
    let leading = (bucket - shift * SUB_BUCKETS) as u64;
    (leading << shift) + (1 << (shift - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_falls_into_a_bucket_within_two_percent() {
        for exponent in 0..64 {
            for value in [
                1_u64 << exponent,
                (1 << exponent) | (1 << exponent >> 1),
                (1 << exponent) + 1,
            ] {
                let error = middle_of(bucket_of(value)).abs_diff(value);
                assert!(error as f64 <= value as f64 * 0.016, "{value} is off by {error}");
            }
        }
        assert!(bucket_of(u64::MAX) < BUCKETS);
    }

    #[test]
    fn quantiles_of_a_uniform_run_are_where_they_should_be() {
        let mut histogram = Histogram::new();
        (1..=10_000).for_each(|us| histogram.record(us * 1000));
        let near = |share, ns: f64| (histogram.quantile_ns(share) as f64 / ns - 1.0).abs() < 0.016;
        assert!(near(0.5, 5e6) && near(0.99, 9.9e6) && near(1.0, 1e7));
    }

    #[test]
    fn without_samples_every_quantile_is_zero() {
        assert_eq!(Histogram::new().quantile_ns(0.5), 0);
    }
}
