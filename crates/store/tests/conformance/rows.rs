//! The ledger's rows: what only some calls have is kept for each that has it.

use tollgate_core::page::PageAsk;
use tollgate_core::usage::UsageEntry;
use tollgate_store::UsageFilter;

use crate::ledger::full;
use crate::world::{World, call, id_of, moment};

pub(crate) async fn a_row_bears_what_its_call_alone_of_its_batch_has(world: &World) {
    let acme = world.create_tenant("acme").await;
    let id = id_of(&world.create_integration(&acme, "main").await);
    let one = |name: &str, add: fn(&mut UsageEntry, UsageEntry)| {
        let mut entry = call(&acme, id, name);
        add(&mut entry, full(&acme, id));
        entry
    };
    let batch = [
        one("none", |_, _| {}),
        one("session", |to, from| to.session_id = from.session_id),
        one("agent", |to, from| to.agent_id = from.agent_id),
        one("code", |to, from| to.error_code = from.error_code),
        one("message", |to, from| to.error_message = from.error_message),
        one("extra", |to, from| to.extra = from.extra),
    ];
    world.operator().append(&batch, moment(9)).await.unwrap();

    let store = world.tenant(&acme);
    let page = store.usage_history(PageAsk::default(), UsageFilter::default());
    let mut rows = page.await.unwrap().rows;
    for entry in batch {
        let at = rows
            .iter()
            .position(|row| row.usage.call_id == entry.call_id.as_str());
        let usage = rows.remove(at.unwrap()).usage;
        let texts = [
            (usage.session_id, entry.session_id.map(|it| it.to_string())),
            (usage.agent_id, entry.agent_id.map(|it| it.to_string())),
            (usage.error_code, entry.error_code.map(|it| it.to_string())),
            (usage.error_message, entry.error_message),
            (
                usage.extra_data.map(|it| it["attempt"].to_string()),
                entry.extra.map(|_| "1".to_owned()),
            ),
        ];
        for (kept, given) in texts {
            assert_eq!(kept, given, "{}", entry.call_id.as_str());
        }
    }
    assert!(rows.is_empty());
}
