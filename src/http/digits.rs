//! Digits in pairs: a byte or a number is looked up instead of divided.
//!
//! Most of an answer is ids and times. Written like this an id takes less than half of the instructions
//! that `uuid` takes for it (115 of some 270).

/// The two lower-case hexadecimal digits of each byte.
pub(super) static HEXADECIMAL: [[u8; 2]; 256] = pairs::<256>(16);
/// The two decimal digits of each number below a hundred.
pub(super) static DECIMAL: [[u8; 2]; 100] = pairs::<100>(10);

const fn pairs<const COUNT: usize>(base: usize) -> [[u8; 2]; COUNT] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut pairs = [[0; 2]; COUNT];
    let mut number = 0;
    while number < COUNT {
        pairs[number] = [DIGITS[number / base], DIGITS[number % base]];
        number += 1;
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pair_is_what_is_written_otherwise() {
        for (number, pair) in HEXADECIMAL.iter().enumerate() {
            assert_eq!(pair, format!("{number:02x}").as_bytes());
        }
        for (number, pair) in DECIMAL.iter().enumerate() {
            assert_eq!(pair, format!("{number:02}").as_bytes());
        }
    }
}
