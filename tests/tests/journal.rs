//! A journal that was damaged on the disk: the start says so, and an operator gets every call back that can be read.
#![expect(clippy::unwrap_used, reason = "a test stops where it fails")]

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};
use tollgate_tests::{Engine, Plan, Run, World, call, run, until};

/// The header of a segment, and some way into its first record.
const IN_THE_FIRST_RECORD: usize = 32 + 20;

fn first_segment(world: &World) -> PathBuf {
    let files = fs::read_dir(world.data_dir().join("journal")).unwrap();
    let files = files.map(|file| file.unwrap().path());
    let mut segments: Vec<_> = files
        .filter(|file| file.extension().is_some_and(|end| end == "seg"))
        .collect();
    segments.sort();
    segments.swap_remove(0)
}

/// A world that was killed with calls in flight, the first of which its journal cannot read any more.
async fn killed_and_damaged() -> (World, PathBuf, Vec<u8>) {
    // Answers do not come before the kill.
    let plan = Plan::quiet(Engine::Sqlite).provider("--latency-ms=600000");
    let mut world = World::start(plan).await;
    let tenant = world.tenant().await;
    tenant.openai(&json!({})).await;
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let caller = tenant.caller.clone();
        let body = call().to_string();
        calls.spawn(async move {
            caller
                .attempt("/v1/chat/completions", &[], body)
                .await
                .is_ok()
        });
    }
    let billed = async || (world.simulator.billed() == 4).then_some(());
    until("four calls at the provider", billed).await;
    world.gateway.program.kill().await;
    calls.join_all().await;
    let segment = first_segment(&world);
    let mut bytes = fs::read(&segment).unwrap();
    bytes[IN_THE_FIRST_RECORD] ^= 1;
    fs::write(&segment, &bytes).unwrap();
    (world, segment, bytes)
}

async fn journal(verb: &str, world: &World) -> Run {
    let data = world.data_dir();
    let data = data.to_str().unwrap();
    run(&["journal", verb, "--data-dir", data, "--json"], &[], "").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_journal_stops_the_start_and_a_salvage_keeps_every_call_that_can_be_read() {
    let (mut world, segment, bytes) = killed_and_damaged().await;
    let data = world.data_dir();
    let data = data.to_str().unwrap();
    let dev = run(
        &["dev", "--data-dir", data, "--listen", "127.0.0.1:0"],
        &[],
        "",
    )
    .await;
    assert_eq!(dev.code, Some(8), "{}", dev.err);
    let place = format!("{} is damaged at byte 32", segment.display());
    assert!(dev.err.contains(&place), "{}", dev.err);
    assert!(dev.err.contains("tollgate journal inspect"), "{}", dev.err);

    let inspect = journal("inspect", &world).await;
    assert_eq!(inspect.code, Some(8), "{}", inspect.err);
    let found: Value = serde_json::from_str(&inspect.out).unwrap();
    assert_eq!(
        (&found["open_calls"], &found["rows"]),
        (&json!(3), &json!(0))
    );
    assert_eq!(found["damages"][0]["offset"], json!(32));
    assert_eq!(
        fs::read(&segment).unwrap(),
        bytes,
        "looking changes nothing"
    );

    let salvage = journal("salvage", &world).await;
    assert_eq!(salvage.code, Some(0), "{}", salvage.err);
    let done: Value = serde_json::from_str(&salvage.out).unwrap();
    let aside = PathBuf::from(done["set_aside"].as_str().unwrap());
    let kept = aside.join(segment.file_name().unwrap());
    assert_eq!(fs::read(kept).unwrap(), bytes, "the damaged file is kept");

    world.restart().await;
    let busy = journal("inspect", &world).await;
    assert_eq!(busy.code, Some(5), "a running server has it: {}", busy.err);
    world.stop_gateway().await;
    let rows = world.ledger();
    let interrupted = rows.iter().filter(|row| row.error() == "interrupted");
    assert_eq!(
        interrupted.count(),
        3,
        "all but the one that cannot be read"
    );
    let sound = journal("inspect", &world).await;
    assert_eq!(sound.code, Some(0), "{}", sound.err);
    world.end_unjoined().await;
}
