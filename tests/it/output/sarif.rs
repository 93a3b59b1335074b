//! The SARIF log: the constraints of SARIF 2.1.0 on the parts we write.

use super::*;

/// What SARIF 2.1.0 asks of the parts we write.
pub(super) fn assert_sarif(log: &Value) {
    assert_eq!(log["version"], "2.1.0");
    let run = &log["runs"][0];
    let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
    assert!(run["tool"]["driver"]["name"].is_string());
    assert!(run["invocations"][0]["executionSuccessful"].is_boolean());
    for result in run["results"].as_array().expect("results, even if none") {
        let rule = &rules[usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap()];
        assert_eq!(result["ruleId"], rule["id"]);
        assert!(["error", "warning", "note"].contains(&result["level"].as_str().unwrap()));
        assert_inert(result["message"]["text"].as_str().unwrap());
        for location in result["locations"].as_array().into_iter().flatten() {
            let logical = &location["logicalLocations"][0];
            assert!(logical["name"].is_string() && logical["fullyQualifiedName"].is_string());
        }
    }
}

/// No placeholder and no embedded link: braces are doubled, and no `](` is left.
fn assert_inert(message: &str) {
    let rest = message.replace("{{", "").replace("}}", "");
    assert!(!message.is_empty() && !rest.contains(['{', '}']) && !rest.contains("]("), "{message}");
}

pub(super) fn levels(report: &Report, limit: usize) -> Vec<String> {
    let log = parsed(report, Format::Sarif, &WriteOptions { limit, ..TEXT });
    assert_sarif(&log);
    let results = log["runs"][0]["results"].as_array().unwrap();
    results.iter().map(|result| result["level"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn sarif_has_a_result_for_each_violation_and_problem() {
    assert_eq!(
        levels(&full(), 1_000),
        ["error", "error", "error", "error", "error", "error", "warning", "note"]
    );
    assert_eq!(levels(&full(), 0), ["error", "warning", "note"]);
    assert_eq!(levels(&report(), 1_000), Vec::<String>::new());
    let run = &parsed(&full(), Format::Sarif, &TEXT)["runs"][0];
    assert_eq!(run["invocations"][0]["executionSuccessful"], false);
    assert_eq!(
        run["results"][0]["locations"][0]["logicalLocations"][0]["fullyQualifiedName"],
        "nftables/ip/filter/INPUT"
    );
    assert_eq!(
        run["results"][1]["message"]["text"],
        "Unexpected rule in iptables-nft, family ip6, table filter, chain INPUT, rule 3: \
         -A INPUT -s fd00::/8 -p tcp -m tcp --dport 22 -j ACCEPT\nAllow it: add to the file filter of the IPv6 \
         allowlist: ^-A INPUT -s fd00::/8 -p tcp -m tcp --dport 22 -j ACCEPT$"
    );
}

#[test]
fn sarif_fingerprints_survive_a_move_and_nothing_else() {
    let print = |violation: Violation| {
        let log = parsed(&with_violations(vec![violation]), Format::Sarif, &TEXT);
        log["runs"][0]["results"][0]["partialFingerprints"]["unexpectedRule/v1"].as_str().unwrap().to_owned()
    };
    let base = violation(b"-A INPUT -j DROP");
    let moved = Violation { position: Some(9), ..base.clone() };
    assert_eq!(print(base.clone()), print(moved));
    for other in [
        Violation { line: b"-A INPUT -j ACCEPT".to_vec(), ..base.clone() },
        Violation { family: Family::Ip6, ..base.clone() },
        Violation { backend: Backend::IptablesLegacy, ..base.clone() },
        Violation { table: "filte".into(), chain: Some("rINPUT".into()), ..base.clone() },
    ] {
        assert_ne!(print(base.clone()), print(other));
    }
}
