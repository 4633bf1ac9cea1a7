//! Numbers of things as people read them.

use std::fmt::Display;

/// A number of things in words: `1 room`, `2 rooms`, `2 publishes`.
pub(crate) fn counted(count: impl Display, thing: &str) -> String {
    let count = count.to_string();
    let ending = match count.as_str() {
        "1" => "",
        _ if thing.ends_with('h') => "es",
        _ => "s",
    };
    format!("{count} {thing}{ending}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_thing_is_one() {
        for (count, thing, text) in [
            (0, "room", "0 rooms"),
            (1, "room", "1 room"),
            (2, "room", "2 rooms"),
            (11, "publish", "11 publishes"),
            (1, "publish", "1 publish"),
        ] {
            assert_eq!(counted(count, thing), text);
        }
    }
}
