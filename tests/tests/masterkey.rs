//! Master keys are rotated while calls go on, and the program is killed in the middle of it, again and again.
#![expect(clippy::unwrap_used, reason = "a test stops where it fails")]
#![expect(
    clippy::print_stderr,
    reason = "how many calls a kill cut and how far each attempt came is worth knowing"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::{Value, json};
use tokio::task::JoinSet;
use tollgate_tests::{CHAT, Caller, Engine, Plan, Program, Run, Tenant, World, call, run, until};

/// Integrations that calls go through.
const CALLED: usize = 6;

/// Integrations that nobody calls: a rotation has to reach their credentials too.
const IDLE: usize = 120;

/// What the clients of one round saw.
#[derive(Debug, Default)]
struct Seen {
    answered: AtomicUsize,
    /// Calls that a kill left without an answer.
    cut: AtomicUsize,
    wrong: parking::Wrong,
}

/// The first answer that was not what it should be.
mod parking {
    use std::sync::Mutex;

    #[derive(Debug, Default)]
    pub(super) struct Wrong(Mutex<Option<String>>);

    impl Wrong {
        pub(super) fn note(&self, what: String) {
            self.0.lock().unwrap().get_or_insert(what);
        }

        pub(super) fn must_be_none(&self) {
            let wrong = self.0.lock().unwrap().take();
            assert!(wrong.is_none(), "a call failed: {wrong:?}");
        }
    }
}

fn clients(caller: &Caller, seen: &Arc<Seen>, stop: &Arc<AtomicBool>) -> JoinSet<()> {
    let mut clients = JoinSet::new();
    for number in 0..CALLED {
        let (caller, seen, stop) = (caller.clone(), Arc::clone(seen), Arc::clone(stop));
        clients.spawn(async move {
            let name = format!("called {number}");
            while !stop.load(Ordering::Relaxed) {
                let headers = [("x-tollgate-integration", name.as_str())];
                match caller.attempt(CHAT, &headers, call().to_string()).await {
                    Ok(answer) if answer.status == 200 => {
                        seen.answered.fetch_add(1, Ordering::Relaxed);
                    }
                    Ok(answer) => seen
                        .wrong
                        .note(format!("{} {}", answer.status, answer.text())),
                    Err(_) => {
                        seen.cut.fetch_add(1, Ordering::Relaxed);
                        return;
                    }
                }
            }
        });
    }
    clients
}

/// The arguments of a command beside the server, and its environment.
fn beside<'w>(
    world: &'w World,
    data: &'w str,
    command: &[&'w str],
) -> (Vec<&'w str>, Vec<(&'w str, &'w str)>) {
    let place = ["--url", world.gateway.admin_url.as_str()];
    let mut args: Vec<&str> = [&["masterkey"], command, &place, &["--json"]].concat();
    if command[0] != "status" {
        args.extend(["--data-dir", data]);
    }
    let env = vec![("TOLLGATE_KEY", world.gateway.operator_key.as_str())];
    (args, env)
}

async fn masterkey(world: &World, command: &[&str]) -> Run {
    let data = world.data_dir();
    let (args, env) = beside(world, data.to_str().unwrap(), command);
    run(&args, &env, "").await
}

async fn status(world: &World) -> Value {
    world.operator.get("/masterkeys").await
}

fn credentials(status: &Value) -> Vec<(String, u64)> {
    let keys = status["keys"].as_array().unwrap().iter();
    let counts = keys.map(|key| {
        (
            key["id"].as_str().unwrap().to_owned(),
            key["credentials"].as_u64().unwrap(),
        )
    });
    counts.filter(|(_, credentials)| *credentials > 0).collect()
}

fn removable(status: &Value) -> Vec<String> {
    let keys = status["keys"].as_array().unwrap().iter();
    let old = keys.filter(|key| key["removable"] == true);
    old.map(|key| key["id"].as_str().unwrap().to_owned())
        .collect()
}

fn masters_in_file(world: &World) -> Vec<String> {
    let text = std::fs::read_to_string(world.data_dir().join("master.key")).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let names = lines.filter_map(|line| line.split_once(':').map(|(name, _)| name.to_owned()));
    names.filter(|name| name != "pepper").collect()
}

async fn furnish(world: &World) -> Tenant {
    let tenant = world.tenant().await;
    for number in 0..CALLED {
        tenant
            .integration("openai", &format!("called {number}"), &json!({}))
            .await;
    }
    for number in 0..IDLE {
        tenant
            .created("openai", &format!("idle {number}"), &json!({}))
            .await;
    }
    tenant
}

/// Calls through every integration that is called; each must be answered.
async fn all_answer(tenant: &Tenant) {
    for number in 0..CALLED {
        let name = format!("called {number}");
        let headers = [("x-tollgate-integration", name.as_str())];
        let answer = tenant.caller.post(CHAT, &headers, call().to_string()).await;
        assert_eq!(answer.status, 200, "{name}: {}", answer.text());
    }
}

/// Begins a rotation under load and kills the server, and every other time the command too, a moment later.
async fn interrupted(world: &mut World, tenant: &Tenant, kill: usize, seen: &Arc<Seen>) -> String {
    let reached = world.again(tenant);
    let stop = Arc::new(AtomicBool::new(false));
    let clients = clients(&reached.caller, seen, &stop);
    let data = world.data_dir();
    let (args, env) = beside(world, data.to_str().unwrap(), &["rotate"]);
    let mut rotation = Program::start(world.folder(), &format!("rotate-{kill}"), &args, &env);
    // Different shares of the rotation before each kill, by the calls that are answered meanwhile.
    let goal = world.simulator.billed() + 1 + (kill * 53) % 97;
    let billed = async || (world.simulator.billed() >= goal).then_some(());
    until("calls before the next kill", billed).await;
    if kill.is_multiple_of(2) && rotation.is_running() {
        rotation.kill().await;
    }
    world.gateway.program.kill().await;
    stop.store(true, Ordering::Relaxed);
    clients.join_all().await;
    rotation.ended().await;
    let said = rotation
        .messages()
        .lines()
        .last()
        .unwrap_or_default()
        .to_owned();
    world.restart().await;
    said
}

async fn is_rotated_under_kills(engine: Engine, kills: usize) {
    let plan = Plan::quiet(engine).provider("--latency-ms=2");
    let mut world = World::start(plan).await;
    let tenant = furnish(&world).await;
    let everything = credentials(&status(&world).await);
    assert_eq!(everything.len(), 1, "{everything:?}");
    let number = everything[0].1;
    let seen = Arc::new(Seen::default());
    for kill in 0..kills {
        let said = interrupted(&mut world, &tenant, kill, &seen).await;
        let at = credentials(&status(&world).await);
        eprintln!(
            "kill {kill}: {said:?}; credentials {at:?}, file {:?}",
            masters_in_file(&world)
        );
        assert_eq!(
            at.iter().map(|(_, credentials)| credentials).sum::<u64>(),
            number
        );
        seen.wrong.must_be_none();
        all_answer(&world.again(&tenant)).await;
    }
    // Undisturbed, it comes to its end, still under load.
    let stop = Arc::new(AtomicBool::new(false));
    let cut = seen.cut.load(Ordering::Relaxed);
    let clients = clients(&world.again(&tenant).caller, &seen, &stop);
    let rotation = masterkey(&world, &["rotate"]).await;
    assert_eq!(rotation.code, Some(0), "{}", rotation.err);
    let keys = status(&world).await;
    let active = masters_in_file(&world)[0].clone();
    assert_eq!(credentials(&keys), [(active.clone(), number)]);
    // Whatever was active before is not needed any more, and the active one is not to be removed.
    let old = removable(&keys);
    assert_eq!(old.len(), masters_in_file(&world).len() - 1, "{keys}");
    assert!(!old.contains(&active) && !old.is_empty());
    let refused = masterkey(&world, &["retire", &active]).await;
    assert_eq!(refused.code, Some(5), "{}", refused.err);
    for id in &old {
        let retired = masterkey(&world, &["retire", id]).await;
        assert_eq!(retired.code, Some(0), "{}", retired.err);
    }
    stop.store(true, Ordering::Relaxed);
    clients.join_all().await;
    seen.wrong.must_be_none();
    assert_eq!(
        seen.cut.load(Ordering::Relaxed),
        cut,
        "a call was cut although nothing was killed"
    );
    assert_eq!(masters_in_file(&world), [active]);
    world.stop_gateway().await;
    world.restart().await;
    all_answer(&world.again(&tenant)).await;
    eprintln!(
        "{kills} kills: {} calls answered, {} cut by a kill",
        seen.answered.load(Ordering::Relaxed),
        seen.cut.load(Ordering::Relaxed)
    );
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_under_load_and_kills_ends_with_every_credential_on_the_new_key() {
    is_rotated_under_kills(Engine::Sqlite, 12).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_under_load_and_kills_ends_well_on_postgres_too() {
    is_rotated_under_kills(Engine::Postgres, 4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_something_is_sealed_under_cannot_be_retired() {
    let world = World::start_on_sqlite().await;
    let tenant = world.tenant().await;
    tenant.openai(&json!({})).await;
    let before = std::fs::read(world.data_dir().join("master.key")).unwrap();
    let refused = masterkey(&world, &["retire", "k1"]).await;
    assert_eq!(refused.code, Some(5), "{}", refused.err);
    assert!(refused.err.contains("sealed under `k1`"), "{}", refused.err);
    let missing = masterkey(&world, &["retire", "k9"]).await;
    assert_eq!(missing.code, Some(3), "{}", missing.err);
    assert_eq!(
        std::fs::read(world.data_dir().join("master.key")).unwrap(),
        before
    );
    let told = masterkey(&world, &["status"]).await;
    let told: Value = serde_json::from_str(&told.out).unwrap();
    assert_eq!(told["active"], "k1");
    assert_eq!(told["nodes"].as_array().unwrap().len(), 1);
    world.close().await;
}
