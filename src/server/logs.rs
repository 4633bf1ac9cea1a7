//! Logs: structured lines on standard error. Shards count instead of logging; what is logged is the start,
//! the end, and what an operator must act on. Never a token, never content.

use std::io;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::{LogFormat, Logs, StartError};

/// Sends what this process logs to standard error from now on.
pub(super) fn start(logs: &Logs) -> Result<(), StartError> {
    let filter = EnvFilter::try_new(&logs.filter).map_err(|error| {
        StartError::new(
            format!("{:?} are no log directives: {error}", logs.filter),
            "WAYSTATION_LOG",
            "write levels and targets, as in info,waystation=debug",
        )
    })?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    let started = match logs.format {
        LogFormat::Text => lines.finish().try_init(),
        LogFormat::Json => lines.json().flatten_event(true).with_current_span(false).finish().try_init(),
    };
    // Refused only if logs were started before, which is as good.
    drop(started);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directives_that_do_not_parse_are_told_with_their_variable() {
        let logs = Logs { format: LogFormat::Text, filter: "waystation=loud".to_owned() };
        assert_eq!(start(&logs).unwrap_err().place, "WAYSTATION_LOG");
    }
}
