//! Which part of a load one of several generators sends: `0/3`, `1/3` and `2/3` together are the whole.
//!
//! Every generator is given the same load. Part I of N takes every N-th arrival and a share of the connections, so the
//! union over the parts is the schedule of one generator, whatever their number. Parts count from 0, as the completion
//! index of a Kubernetes Job does.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// More generators than this are a typing mistake.
const PARTS_MAX: u32 = 1000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Part {
    pub index: u32,
    pub of: u32,
}

impl Default for Part {
    fn default() -> Self {
        Self { index: 0, of: 1 }
    }
}

impl Part {
    pub fn is_whole(&self) -> bool {
        self.of == 1
    }

    /// This part's share of things that can be counted, such as connections; the shares add up to the total.
    pub fn share(&self, total: u32) -> u32 {
        total / self.of + (self.index < total % self.of) as u32
    }
}

impl FromStr for Part {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers = text.split_once('/').map(|(index, of)| (index.trim().parse(), of.trim().parse()));
        match numbers {
            Some((Ok(index), Ok(of))) if index < of && of <= PARTS_MAX => Ok(Self { index, of }),
            _ => Err(format!("`{text}` is not a part; three generators are 0/3, 1/3 and 2/3")),
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.of)
    }
}

impl Serialize for Part {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Part {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_of_the_parts_add_up() {
        for total in [0, 1, 7, 1000] {
            let shares = (0..3).map(|index| Part { index, of: 3 }.share(total));
            assert_eq!(shares.sum::<u32>(), total);
        }
    }

    #[test]
    fn a_part_reads_back_and_a_wrong_one_is_refused_with_an_example() {
        let part: Part = "1/3".parse().unwrap();
        assert_eq!((part, part.to_string().as_str()), (Part { index: 1, of: 3 }, "1/3"));
        for text in ["", "1", "3/3", "0/0", "-1/2", "a/b", "0/5000", "1/2/3"] {
            let error = text.parse::<Part>().unwrap_err();
            assert!(error.contains(&format!("`{text}`")) && error.contains("0/3"), "{error}");
        }
    }
}
