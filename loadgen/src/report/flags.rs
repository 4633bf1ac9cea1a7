//! The command line as a result may show it: results are passed on, so what opens doors is left out.

/// Flags whose value may be a secret, by a part of their names. A file's name is none, but then there is no telling.
const SECRET: [&str; 6] = ["token", "header", "secret", "password", "cookie", "auth"];
/// What stands for a secret.
const HIDDEN: &str = "(hidden)";

/// Arguments without the values of flags that may be secrets, and without the user and the query of addresses.
#[must_use]
pub fn without_secrets(arguments: impl Iterator<Item = String>) -> Vec<String> {
    let (mut shown, mut hide_next) = (Vec::new(), false);
    for argument in arguments {
        let is_flag = argument.starts_with("--");
        let (name, value) = argument.split_once('=').map_or((argument.as_str(), None), |(name, v)| (name, Some(v)));
        let secret = is_flag && SECRET.iter().any(|part| name.contains(part));
        shown.push(match value {
            _ if hide_next && !is_flag => HIDDEN.to_owned(),
            Some(_) if secret => format!("{name}={HIDDEN}"),
            _ => without_credentials(&argument),
        });
        hide_next = secret && value.is_none();
    }
    shown
}

/// An argument, without what an address in it says of the user, and without its query.
fn without_credentials(argument: &str) -> String {
    let Some((scheme, rest)) = argument.split_once("://") else { return argument.to_owned() };
    let rest = rest.split_once('?').map_or_else(|| rest.to_owned(), |(rest, _)| format!("{rest}?{HIDDEN}"));
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = authority.rsplit_once('@').map_or_else(|| authority.to_owned(), |(_, host)| format!("{HIDDEN}@{host}"));
    format!("{scheme}://{host}{path}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_of_a_command_line_are_not_shown() {
        let check = |line: &str, expected: &str| {
            assert_eq!(without_secrets(line.split(' ').map(str::to_owned)).join(" "), expected);
        };
        check("run --scenario smoke --set rate=2", "run --scenario smoke --set rate=2");
        check("run --tokens file --spin", "run --tokens (hidden) --spin");
        check("run --header=Authorization:x --cpu 1", "run --header=(hidden) --cpu 1");
        check("--tokens --spin", "--tokens --spin");
        check("--url ws://127.0.0.1:8000", "--url ws://127.0.0.1:8000");
        check("--url ws://me:word@host:1/a?token=x", "--url ws://(hidden)@host:1/a?(hidden)");
        check("--url=ws://me@host", "--url=ws://(hidden)@host");
        check("--set auth=query", "--set auth=query");
    }
}
