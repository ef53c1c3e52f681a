//! Whatever the control plane can do, a command does: every operation of its description has a row here, and the
//! command that it names is there.

use std::collections::BTreeMap;

use clap::CommandFactory as _;
use serde_json::Value;
use tollgate::cli::Cli;

/// Operation and command; in brackets why an operation needs none of its own.
const TABLE: &str = "
    list_audit               audit list
    verify_audit             audit verify
    get_docs                 (a page for people, in a browser)
    check_calls              limit check
    check_call               limit check
    get_enforcement_status   limit status
    create_hold              limit hold
    release_hold             limit release
    list_integrations        integration list
    create_integration       integration create
    get_health_summary       integration health
    delete_integration       integration delete
    get_integration          integration get
    update_integration       integration update
    replace_credential       integration credential
    disable_integration      integration disable
    enable_integration       integration enable
    get_health               integration health
    get_limits               integration limits
    test_integration         integration test
    list_keys                key list
    create_key               key create
    revoke_key               key revoke
    get_key                  key get
    rotate_key               key rotate
    rebuild_rollups          rollup rebuild
    verify_rollups           rollup verify
    get_ledger_status        ledger status
    verify_ledger            ledger verify
    get_master_keys          masterkey status
    rewrap_credentials       masterkey rotate
    list_nodes               node list
    retire_node              node retire
    get_openapi              openapi
    list_providers           provider list
    list_prices              price list
    list_unknown_prices      price unknown
    get_price                price get
    set_price                price set
    remove_price             price remove
    report_usage             usage report
    report_usage_batch       usage report
    list_usage_daily         usage daily
    export_usage             usage export
    list_usage_history       usage history
    get_usage_summary        usage summary
    list_tenants             tenant list
    create_tenant            tenant create
    delete_tenant            tenant delete
    get_tenant               tenant get
    update_tenant            tenant suspend
    get_liveness             doctor
    get_readiness            doctor
";

#[test]
fn every_operation_is_a_command() {
    let rows = TABLE.lines().map(str::trim).filter(|row| !row.is_empty());
    let table: BTreeMap<&str, &str> = rows
        .map(|row| row.split_once(' ').unwrap())
        .map(|(operation, command)| (operation, command.trim()))
        .collect();
    let description: Value = serde_json::from_str(&tollgate_api::openapi_json()).unwrap();
    let paths = description["paths"].as_object().unwrap().values();
    let methods = paths.flat_map(|path| path.as_object().unwrap().values());
    let mut operations: Vec<&str> = methods
        .filter_map(|operation| operation["operationId"].as_str())
        .collect();
    operations.sort_unstable();
    let known: Vec<&str> = table.keys().copied().collect();
    assert_eq!(
        operations, known,
        "give each operation its command in this table"
    );
    let program = Cli::command();
    for (operation, command) in table {
        if command.starts_with('(') {
            continue;
        }
        let mut at = &program;
        for word in command.split(' ') {
            at = at
                .find_subcommand(word)
                .unwrap_or_else(|| panic!("{operation}: there is no `tollgate {command}`"));
        }
    }
}
