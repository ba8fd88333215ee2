//! Which bucket a duration falls into: the layout of an HDR histogram with two significant digits.
//!
//! Durations are nanoseconds. The first 256 buckets are 64 ns wide; from there on every doubling of
//! the duration takes 128 buckets, each twice as wide as those before. So a bucket is never wider
//! than 1/128 of the durations in it, and [`BUCKETS`] of them reach to [`NANOS_MAX`], about 69
//! seconds. A longer duration counts as that one; the exact maximum is kept beside the buckets.
//!
//! It is the layout of the `hdrhistogram` crate, which readers use for the percentiles; recorders
//! only need the index, and need it on words that they share with readers.

use hdrhistogram::Histogram;

/// 64 ns, the width of the narrowest bucket, as a power of two.
const UNIT_BITS: u32 = 6;
/// 256 buckets of one width, of which all but the first octave uses the upper half.
const SUB_BITS: u32 = 8;
const HALF: usize = 1 << (SUB_BITS - 1);
const NANOS_BITS: u32 = 36;
/// The longest duration that is told apart from longer ones.
pub(super) const NANOS_MAX: u64 = (1 << NANOS_BITS) - 1;
/// How many buckets there are.
pub(super) const BUCKETS: usize = ((NANOS_BITS - UNIT_BITS - SUB_BITS) as usize + 2) * HALF;

const SUB_MASK: u64 = (1 << (SUB_BITS + UNIT_BITS)) - 1;

/// The bucket that `nanos` falls into.
#[inline]
pub(super) fn bucket_of(nanos: u64) -> usize {
    let nanos = nanos.min(NANOS_MAX);
    let bits = u64::BITS - (nanos | SUB_MASK).leading_zeros();
    let octave = bits - SUB_BITS - UNIT_BITS;
    // At most 2 * HALF - 1, since the octave is chosen so.
    let sub = (nanos >> (octave + UNIT_BITS)) as usize;
    octave as usize * HALF + sub
}

/// The shortest duration of a bucket, in nanoseconds.
pub(super) fn shortest_of(bucket: usize) -> u64 {
    let octave = (bucket / HALF).saturating_sub(1);
    ((bucket - octave * HALF) as u64) << octave << UNIT_BITS
}

/// An empty histogram of this layout.
pub(super) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1 << UNIT_BITS, NANOS_MAX, 2)
        .expect("the bounds are constants that the crate accepts")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_layout_of_the_crate() {
        let histogram = histogram();
        assert_eq!(histogram.distinct_values(), BUCKETS);
        for bucket in 0..BUCKETS {
            let shortest = shortest_of(bucket);
            assert_eq!(bucket_of(shortest), bucket);
            assert_eq!(histogram.lowest_equivalent(shortest), shortest);
            let longest = histogram.highest_equivalent(shortest);
            assert_eq!(bucket_of(longest), bucket, "{shortest} to {longest}");
            assert!(longest - shortest < 64 || (longest - shortest) * 128 <= longest);
        }
    }

    #[test]
    fn the_longest_durations_share_the_last_bucket() {
        assert_eq!(bucket_of(0), 0);
        assert_eq!(bucket_of(63), 0);
        assert_eq!(bucket_of(64), 1);
        assert_eq!(bucket_of(NANOS_MAX), BUCKETS - 1);
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
    }
}
