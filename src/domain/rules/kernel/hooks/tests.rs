use super::*;

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len() + 4).unwrap();
    let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn answer(priority: i32, function: &str, module: Option<&str>, info: Option<(u32, Vec<u8>)>) -> Vec<u8> {
    let text = |kind, text: &str| attribute(kind, format!("{text}\0").as_bytes());
    let mut bytes = module.map(|module| text(NFNLA_HOOK_MODULE_NAME, module)).unwrap_or_default();
    bytes.extend(text(NFNLA_HOOK_FUNCTION_NAME, function));
    bytes.extend(attribute(1, &1_u32.to_be_bytes()));
    bytes.extend(attribute(NFNLA_HOOK_PRIORITY, &priority.to_be_bytes()));
    if let Some((kind, description)) = info {
        let mut info = attribute(NFNLA_HOOK_INFO_TYPE, &kind.to_be_bytes());
        info.extend(attribute(NFNLA_HOOK_INFO_DESC, &description));
        bytes.extend(attribute(NFNLA_HOOK_CHAIN_INFO, &info));
    }
    bytes
}

fn callee(function: &str, info: Option<(u32, Vec<u8>)>) -> Callee {
    Callback::decode(&answer(-200, function, None, info)).unwrap().callee
}

fn function(name: Option<&str>) -> Callee {
    Callee::Function { name: name.map(|name| name.into()), module: None }
}

#[test]
fn an_answer_says_what_is_called() {
    let module = answer(-7, "evil_hook.constprop.0", Some("evil"), None);
    let expected = Callee::Function { name: Some(b"evil_hook".to_vec()), module: Some(b"evil".to_vec()) };
    assert_eq!(Callback::decode(&module), Ok(Callback { priority: -7, callee: expected }));
    assert_eq!(callee("ipv4_conntrack_in", None), function(Some("ipv4_conntrack_in")));
    assert_eq!(callee("nft_do_chain_inet", Some((NFNL_HOOK_TYPE_NFTABLES, Vec::new()))), Callee::NfTables);
    let flowtable = Some((NFNL_HOOK_TYPE_NFT_FLOWTABLE, Vec::new()));
    assert_eq!(callee("nf_flow_offload_inet_hook", flowtable), Callee::NfTables);
    let id = attribute(NFNLA_HOOK_BPF_ID, &4711_u32.to_be_bytes());
    assert_eq!(callee("nf_hook_run_bpf", Some((NFNL_HOOK_TYPE_BPF, id))), Callee::Bpf(4711));
    assert_eq!(
        callee("new_in_a_later_kernel", Some((9, Vec::new()))),
        function(Some("new_in_a_later_kernel"))
    );
}

#[test]
fn a_name_that_differs_at_each_boot_is_none() {
    assert_eq!(callee("0xffffffffc0a81000", None), function(None));
    assert_eq!(callee("", None), function(None));
    let nameless = attribute(NFNLA_HOOK_PRIORITY, &0_u32.to_be_bytes());
    assert_eq!(Callback::decode(&nameless).unwrap().callee, function(None));
}

#[test]
fn what_is_not_whole_is_refused() {
    assert!(Callback::decode(&[]).is_err(), "no priority");
    for info in [(NFNL_HOOK_TYPE_BPF, Vec::new()), (NFNL_HOOK_TYPE_BPF, vec![1, 0])] {
        assert!(Callback::decode(&answer(0, "nf_hook_run_bpf", None, Some(info))).is_err());
    }
    let whole = answer(0, "f", Some("m"), Some((NFNL_HOOK_TYPE_NFTABLES, Vec::new())));
    for length in 0..whole.len() {
        let _ = Callback::decode(&whole[..length]);
    }
}

#[test]
fn known_functions_are_found_and_no_others() {
    assert!(KNOWN.is_sorted());
    for name in ["ipt_do_table", "ipv4_conntrack_in", "ip_vs_in_hook", "nft_do_chain_inet"] {
        assert!(is_known(name.as_bytes()), "{name}");
    }
    for name in ["nf_hook_run_bpf", "evil", "ipt_do_tables", "", "ipt_do_table.cold"] {
        assert!(!is_known(name.as_bytes()), "{name}");
    }
}

#[test]
fn hooks_have_names() {
    assert_eq!(hook_name(Family::Ip6, 4), "postrouting");
    assert_eq!(hook_name(Family::Arp, 2), "forward");
    assert_eq!(hook_name(Family::Netdev, 1), "egress");
    assert_eq!(hook_name(Family::Ip, 9), "9");
    assert_eq!(hook_name(Family::Inet, 0), "0", "is never listed");
}

/// What Linux 6.12 of Debian 13 answers, behind `struct nfgenmsg`: a BPF program, base chains of two families, a flowtable,
/// functions of modules and of the kernel itself.
const RECORDED: [(&str, i32, &str); 7] = [
    (
        "140004006e665f686f6f6b5f72756e5f62706600080001000000000108000200fffffe0c1800068008000200000000020c0001800800010000000001",
        -500,
        "bpf 1",
    ),
    (
        "0e0005006e665f7461626c6573000000160004006e66745f646f5f636861696e5f6970763400000008000100000000010800020000000000300006800\
         800020000000001240001800b00010066696c74657200000a000300494e5055540000000500020002000000",
        0,
        "nf_tables",
    ),
    (
        "0e0005006e665f7461626c65730000001e0004006e66745f646f5f636861696e5f696e65745f696e67726573730000000800010000000000080002000\
         00000092800068008000200000000011c000180060001006600000006000300690000000500020001000000",
        9,
        "nf_tables",
    ),
    (
        "170005006e665f666c6f775f7461626c655f696e657400001e0004006e665f666c6f775f6f66666c6f61645f696e65745f686f6f6b000000080001000\
         00000000800020000000000",
        0,
        "nf_flow_offload_inet_hook [nf_flow_table_inet]",
    ),
    (
        "110005006e665f636f6e6e747261636b0000000016000400697076345f636f6e6e747261636b5f696e000000080001000000000008000200ffffff38",
        -200,
        "ipv4_conntrack_in [nf_conntrack]",
    ),
    (
        "180005006e665f636f6e6e747261636b5f62726964676500140004006e665f63745f6272696467655f696e000800010000000001080002007fffffff",
        i32::MAX,
        "nf_ct_bridge_in [nf_conntrack_bridge]",
    ),
    (
        "1a00040061707061726d6f725f69705f706f7374726f757465000000080001000000000408000200ffffff1f",
        -225,
        "apparmor_ip_postroute",
    ),
];

fn bytes(hex: &str) -> Vec<u8> {
    let pairs = hex.as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

#[test]
fn answers_of_a_kernel_are_understood() {
    for (hex, priority, expected) in RECORDED {
        let Callback { priority: said, callee } = Callback::decode(&bytes(hex)).expect(expected);
        let text = |text: Option<Vec<u8>>| String::from_utf8(text.unwrap()).unwrap();
        let callee = match callee {
            Callee::NfTables => "nf_tables".to_owned(),
            Callee::Bpf(number) => format!("bpf {number}"),
            Callee::Function { name, module: None } => text(name),
            Callee::Function { name, module } => format!("{} [{}]", text(name), text(module)),
        };
        assert_eq!((said, callee.as_str()), (priority, expected));
        let function = expected.split(' ').next().unwrap();
        assert!(["bpf", "nf_tables"].contains(&function) || is_known(function.as_bytes()), "{expected}");
    }
}
