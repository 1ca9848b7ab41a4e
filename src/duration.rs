//! A length of time in a few words for a person.

use std::time::Duration;

/// In the largest unit that fits, rounded down: `0 s`, `59 s`, `3 min`, `5 h`, `2 days`.
pub(crate) fn words(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_length_has_its_unit() {
        let shown = [0, 59, 60, 3599, 3600, 172_799, 172_800].map(|seconds| words(Duration::from_secs(seconds)));

        assert_eq!(shown, ["0 s", "59 s", "1 min", "59 min", "1 h", "47 h", "2 days"]);
    }
}
