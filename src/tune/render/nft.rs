//! A table for nftables that takes the gateway's port out of connection tracking: the other way out where the table of
//! tracked connections is too small. It is not applied: which rules of a firewall need tracking its owner knows.

use super::sysctl::comment;
use crate::tune::row;

const HEAD: &str = "Takes the gateway's port out of connection tracking, for nftables. Put the ports of server.listen \
    into the set. `nft -c -f` looks at it and changes nothing, `nft -f` loads it, also again; for each boot name it with \
    include in /etc/nftables.conf.";
const COSTS: &str = "Costs: rules that ask for the state of a connection (ct state) know nothing of these any more, so \
    accept the port by its number in both directions. Where packets come to the port by NAT, as to a published port of \
    Docker, tracking is needed: not there.";
const UNDO: &str = "To undo: nft delete table inet waystation_notrack, and take the include out.";

/// Made anew each time that it is loaded, whether it is there or not.
const TABLE: &str = "
table inet waystation_notrack
delete table inet waystation_notrack
table inet waystation_notrack {
\tset ports {
\t\ttype inet_service
\t\telements = { 8000 }
\t}
\tchain prerouting {
\t\ttype filter hook prerouting priority raw; policy accept;
\t\ttcp dport @ports notrack
\t}
\tchain output {
\t\ttype filter hook output priority raw; policy accept;
\t\ttcp sport @ports notrack
\t}
}
";

/// The file.
pub(super) fn notrack() -> String {
    let why = row("net.netfilter.nf_conntrack_max").map(|row| format!("Why: {}.", row.why)).unwrap_or_default();
    [HEAD, &why, COSTS, UNDO].map(comment).concat() + TABLE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_out_of_tracking_says_why_what_it_costs_and_how_to_go_back() {
        let text = notrack();
        for part in ["# Why: a full table drops", "# Costs: ", "# To undo: nft delete table inet waystation_notrack"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        // Both directions: an answer that is tracked would open an entry of its own.
        assert!(text.contains("tcp dport @ports notrack") && text.contains("tcp sport @ports notrack"));
    }
}
