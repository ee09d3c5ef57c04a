//! How many requests somebody may send: a bucket for each token, and for each address whose requests have none that is taken.
//! Decides only; the gate asks it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};

use yuanli_model::Timestamp;

/// Most who are known at once. Those beyond share one bucket: the memory that strangers take is bounded.
const MOST: usize = 10_000;
/// Bits of an address of version 6 that one customer of a provider has.
const PREFIX_V6: u32 = 64;

/// So many in such a time, which may all come at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    count: u32,
    /// In milliseconds.
    per: u64,
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no rate: write one such as `100/s` or `600/m`, or `off`");
        let (count, unit) = text.split_once('/').ok_or_else(wrong)?;
        let per = match unit.trim() {
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return Err(wrong()),
        };
        match count.trim().parse() {
            Ok(0) | Err(_) => Err(wrong()),
            Ok(count) => Ok(Self { count, per }),
        }
    }
}

/// Who is counted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Sender {
    /// By the name of a token.
    Token(String),
    /// By address.
    Address(IpAddr),
    /// Those for whom there is no room.
    Others,
}

impl Sender {
    /// An address of version 6 stands for all that its customer has.
    pub(super) fn at(address: IpAddr) -> Self {
        Self::Address(match address.to_canonical() {
            IpAddr::V6(address) => {
                let mask = !(u128::MAX >> PREFIX_V6);
                IpAddr::V6((u128::from(address) & mask).into())
            }
            address @ IpAddr::V4(_) => address,
        })
    }
}

/// What is left of a bucket, for whoever sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Left {
    rate: Rate,
    /// How many requests may come now.
    pub(super) count: u32,
    /// In how many seconds there may be another one; 0 where one may come now.
    pub(super) wait_seconds: u64,
    /// In how many seconds all may come again.
    full_seconds: u64,
}

impl Left {
    /// The headers of draft-ietf-httpapi-ratelimit-headers: what is allowed, and what is left.
    pub(super) fn headers(self, of: &str) -> [(&'static str, String); 2] {
        let Rate { count, per } = self.rate;
        [
            ("ratelimit-policy", format!("\"{of}\";q={count};w={}", per / 1_000)),
            ("ratelimit", format!("\"{of}\";r={};t={}", self.count, self.full_seconds)),
        ]
    }
}

/// What a sender has used: thousandths of requests, as of a time.
#[derive(Debug, Clone, Copy)]
struct Used {
    thousandths: u64,
    at: Timestamp,
}

/// All senders of one kind.
#[derive(Debug)]
pub(super) struct Buckets {
    rate: Option<Rate>,
    used: Mutex<HashMap<Sender, Used>>,
}

impl Buckets {
    pub(super) fn new(rate: Option<Rate>) -> Self {
        Self { rate, used: Mutex::default() }
    }

    /// Takes one request, if there is one left: the error is what is left then. `None` where nothing is counted.
    pub(super) fn take(&self, sender: &Sender, now: Timestamp) -> Option<Result<Left, Left>> {
        let rate = self.rate?;
        let mut all = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let sender = match all.contains_key(sender) || make_room(&mut all, rate, now) {
            true => sender,
            false => &Sender::Others,
        };
        let before = all.get(sender).map_or(0, |used| rate.left_of(*used, now));
        let after = before + 1_000;
        if after > rate.most() {
            return Some(Err(rate.left(before)));
        }
        all.insert(sender.clone(), Used { thousandths: after, at: now });
        Some(Ok(rate.left(after)))
    }

    /// What is left, without taking any; the error is that nothing is.
    pub(super) fn look(&self, sender: &Sender, now: Timestamp) -> Option<Result<Left, Left>> {
        let rate = self.rate?;
        let all = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        // Where there is room for no more senders, those who are not known are one.
        let is_one_of_many = all.len() >= MOST && !all.contains_key(sender);
        let sender = if is_one_of_many { &Sender::Others } else { sender };
        let used = all.get(sender).map_or(0, |used| rate.left_of(*used, now));
        Some(if used + 1_000 > rate.most() { Err(rate.left(used)) } else { Ok(rate.left(used)) })
    }
}

/// Forgets those who have used nothing any more, where there are too many; whether there is room.
fn make_room(all: &mut HashMap<Sender, Used>, rate: Rate, now: Timestamp) -> bool {
    if all.len() < MOST {
        return true;
    }
    all.retain(|_, used| rate.left_of(*used, now) > 0);
    all.len() < MOST
}

impl Rate {
    /// A full bucket, in thousandths of requests.
    fn most(self) -> u64 {
        u64::from(self.count) * 1_000
    }

    /// What is still used of it.
    fn left_of(self, used: Used, now: Timestamp) -> u64 {
        let passed = now.as_millis().saturating_sub(used.at.as_millis());
        used.thousandths.saturating_sub(passed.saturating_mul(self.most()) / self.per)
    }

    fn left(self, used: u64) -> Left {
        let count = u32::try_from(self.most().saturating_sub(used) / 1_000).unwrap_or(self.count);
        // Until so much is given back, rounded up to a second.
        let until = |thousandths: u64| (thousandths * self.per).div_ceil(self.most()).div_ceil(1_000);
        let missing = (used + 1_000).saturating_sub(self.most());
        Left { rate: self, count, wait_seconds: until(missing), full_seconds: until(used) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    #[test]
    fn all_may_come_at_once_and_then_as_many_as_the_rate_gives_back() {
        let buckets = Buckets::new(Some("3/m".parse().expect("a rate")));
        let ci = Sender::Token("ci".to_owned());
        let take = |now| buckets.take(&ci, at(now)).expect("it is counted").map(|left| left.count);
        assert_eq!([take(0), take(0), take(5)].map(|taken| taken.expect("there was one")), [2, 1, 0]);
        let refused = take(1_000).expect_err("there is none");
        assert_eq!(refused.count, 0);
        let left = buckets.look(&ci, at(1_000)).expect("it is counted").expect_err("there is none");
        assert_eq!((left.wait_seconds, left.full_seconds), (20, 60), "one in twenty seconds: {left:?}");
        assert_eq!(
            left.headers("token"),
            [
                ("ratelimit-policy", "\"token\";q=3;w=60".to_owned()),
                ("ratelimit", "\"token\";r=0;t=60".to_owned()),
            ]
        );
        assert_eq!(take(20_010), Ok(0));
        assert!(take(20_010).is_err());
        assert_eq!(take(1_000_000), Ok(2), "never more than all");
        assert_eq!(take(0), Ok(1), "a clock that goes back gives nothing back");
        let other = Sender::Token("other".to_owned());
        assert_eq!(buckets.take(&other, at(0)).expect("counted").expect("its own").count, 2);
        assert_eq!(Buckets::new(None).take(&ci, at(0)), None);
    }

    #[test]
    fn those_for_whom_there_is_no_room_share_one_bucket() {
        let buckets = Buckets::new(Some("2/s".parse().expect("a rate")));
        let sender = |number: u32| Sender::at(IpAddr::V4(number.into()));
        for number in 0..u32::try_from(MOST).expect("few") {
            assert!(buckets.take(&sender(number), at(0)).is_some_and(|taken| taken.is_ok()));
        }
        let beyond = |number, now| buckets.take(&sender(number), at(now)).is_some_and(|taken| taken.is_ok());
        assert_eq!([beyond(900_001, 0), beyond(900_002, 0), beyond(900_003, 0)], [true, true, false]);
        let looked = buckets.look(&sender(900_005), at(0));
        assert!(looked.is_some_and(|looked| looked.is_err()), "also for who only looks");
        assert!(beyond(900_004, 500), "those who used nothing any more have left their places");
    }

    #[test]
    fn an_address_of_version_6_is_that_of_its_network() {
        let at = |text: &str| Sender::at(text.parse().expect("an address"));
        assert_eq!(at("2001:db8:1:2:3::4"), at("2001:db8:1:2::9"));
        assert_ne!(at("2001:db8:1:2::9"), at("2001:db8:1:3::9"));
        assert_eq!(at("::ffff:10.0.0.7"), at("10.0.0.7"));
        assert_ne!(at("10.0.0.7"), at("10.0.0.8"));
    }
}
