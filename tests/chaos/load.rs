//! The clients: many at once, of every shape of call, some of which hang up; and what they were answered.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::RwLock;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tollgate_tests::{Answer, CHAT, Caller, MESSAGES, Next};

use crate::fleet::{Fleet, Node};
use crate::random::Random;
use crate::tally::{Broken, Tally};

/// No call may take longer, whatever happens meanwhile.
const LONGEST: Duration = Duration::from_secs(80);

/// Between two looks at a call that has no end yet, and after how many of them without its node it is given up.
const LOOK: Duration = Duration::from_secs(1);
const LOOKS_WITHOUT_NODE: u32 = 5;

/// A client waits so long before it tries once more, as SDKs do.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// Of a hundred calls, so many are left in the middle when nothing else is said.
const VANISH_PERCENT: u64 = 5;

/// Somebody whose calls are made.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    /// The key of its calls.
    pub(crate) key: String,
    /// Its share of all calls, beside the others'.
    pub(crate) weight: usize,
    /// What it may call.
    pub(crate) kind: Kind,
}

/// What a target's calls look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Every dialect and operation.
    All,
    /// Chat calls.
    Chat,
    /// Chat calls that say nothing of their output.
    Unbounded,
}

/// A call that went wrong for its client, the retry too.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    /// When it began.
    pub(crate) begun: Instant,
    /// When the retry had failed, too.
    pub(crate) ended: Instant,
    /// What happened, twice.
    pub(crate) what: String,
}

/// What all clients share.
#[derive(Debug)]
pub(crate) struct Load {
    /// Whoever makes a call reads it; whoever writes it has silence.
    pub(crate) gate: RwLock<()>,
    /// What was answered, by status and code.
    pub(crate) answers: Tally,
    fleet: Arc<Fleet>,
    targets: Mutex<Arc<Vec<Target>>>,
    failures: Mutex<Vec<Failure>>,
    broken: Arc<Broken>,
    vanish_percent: AtomicU64,
    is_over: AtomicBool,
}

/// How a call ended for its client.
enum End {
    /// As it should, or refused for a reason.
    Well(String),
    /// Worth one more try.
    Badly(String),
    /// The client left.
    Vanished,
}

struct Call {
    path: &'static str,
    body: Value,
    /// Events after which the client leaves; whole answers are left after as many milliseconds.
    leaves_after: Option<u64>,
}

impl Load {
    /// No clients yet.
    pub(crate) fn new(fleet: Arc<Fleet>, broken: Arc<Broken>) -> Self {
        Self {
            gate: RwLock::default(),
            answers: Tally::default(),
            fleet,
            targets: Mutex::default(),
            failures: Mutex::default(),
            broken,
            vanish_percent: AtomicU64::new(VANISH_PERCENT),
            is_over: AtomicBool::new(false),
        }
    }

    /// Whose calls are made from now on.
    pub(crate) fn aim_at(&self, targets: &[Target]) {
        let shares = targets.iter();
        let weighted = shares.flat_map(|target| std::iter::repeat_n(target.clone(), target.weight));
        *self.targets.lock().unwrap() = Arc::new(weighted.collect());
    }

    /// Has most clients leave in the middle for a while.
    pub(crate) async fn vanish(&self, pause: Duration) {
        self.vanish_percent.store(70, Ordering::SeqCst);
        tokio::time::sleep(pause).await;
        self.vanish_percent.store(VANISH_PERCENT, Ordering::SeqCst);
    }

    /// Starts clients, each with a sequence of its own.
    pub(crate) fn start(self: &Arc<Self>, clients: u64, seed: u64) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        for client in 0..clients {
            let random = Random::of_part(seed, client + 1);
            tasks.spawn(Arc::clone(self).client(random));
        }
        tasks
    }

    /// Has every client end after its call.
    pub(crate) fn end(&self) {
        self.is_over.store(true, Ordering::SeqCst);
    }

    /// Calls that failed for their clients, the retry too.
    pub(crate) fn failures(&self) -> Vec<Failure> {
        self.failures.lock().unwrap().clone()
    }

    async fn client(self: Arc<Self>, mut random: Random) {
        let caller = Caller::new("", "");
        while !self.is_over.load(Ordering::SeqCst) {
            {
                let _turn = self.gate.read().await;
                self.call(&caller, &mut random).await;
            }
            tokio::time::sleep(Duration::from_millis(random.within(1..=60))).await;
        }
    }

    /// One call, and once more elsewhere if it fails.
    async fn call(&self, caller: &Caller, random: &mut Random) {
        let targets = Arc::clone(&self.targets.lock().unwrap());
        let target = &targets[random.index(targets.len())];
        let vanish_percent = self.vanish_percent.load(Ordering::SeqCst);
        let call = Call::new(target.kind, vanish_percent, random);
        let first = random.index(self.fleet.nodes.len());
        let begun = Instant::now();
        let mut what = Vec::new();
        for attempt in 0..2 {
            let node = &self.fleet.nodes[(first + attempt) % self.fleet.nodes.len()];
            let end = match node.endpoint() {
                Some(endpoint) => {
                    let caller = caller.at(&endpoint.url).with_key(&target.key);
                    self.attempt(&call, &caller, node).await
                }
                None => End::Badly("nobody listens".to_owned()),
            };
            match end {
                End::Well(label) => return self.answers.count(&label),
                End::Vanished => return self.answers.count("left by the client"),
                End::Badly(label) => {
                    self.answers.count(&label);
                    what.push(label);
                }
            }
            tokio::time::sleep(RETRY_PAUSE).await;
        }
        self.answers.count("failed twice");
        let failure = Failure {
            begun,
            ended: Instant::now(),
            what: what.join(", then "),
        };
        self.failures.lock().unwrap().push(failure);
    }

    async fn attempt(&self, call: &Call, caller: &Caller, node: &Node) -> End {
        let begun = Instant::now();
        let mut exchange = pin!(async {
            if call.body["stream"] == true {
                self.stream(call, caller).await
            } else {
                self.whole(call, caller).await
            }
        });
        // A connection that breaks while it is made is not always told to its client by the client's own library.
        let mut looks_without_node = 0;
        while looks_without_node < LOOKS_WITHOUT_NODE {
            if let Ok(end) = tokio::time::timeout(LOOK, exchange.as_mut()).await {
                return end;
            }
            if begun.elapsed() > LONGEST {
                let (path, seconds) = (call.path, LONGEST.as_secs());
                self.broken
                    .note(format!("a call to {path} had no end after {seconds} s"));
                return End::Badly("no end".to_owned());
            }
            let is_there = node.endpoint().is_some_and(|now| now.url == caller.url);
            looks_without_node += u32::from(!is_there);
        }
        End::Badly("lost with its node".to_owned())
    }

    async fn whole(&self, call: &Call, caller: &Caller) -> End {
        let exchange = caller.attempt(call.path, &[], call.body.to_string());
        let answer = match call.leaves_after {
            Some(ms) => match tokio::time::timeout(Duration::from_millis(ms * 3), exchange).await {
                Ok(answer) => answer,
                Err(_left) => return End::Vanished,
            },
            None => exchange.await,
        };
        self.judge(answer)
    }

    async fn stream(&self, call: &Call, caller: &Caller) -> End {
        let Ok(mut stream) = caller.try_open(call.path, &call.body).await else {
            return End::Badly("connection broken".to_owned());
        };
        if stream.status != 200 {
            return self.judge(stream.whole().await);
        }
        let (mut seen, mut last) = (0, String::new());
        loop {
            if call.leaves_after == Some(seen) {
                return End::Vanished;
            }
            match stream.next().await {
                Next::Event(event) => last = event,
                Next::Cut => return End::Badly("stream cut".to_owned()),
                Next::End => break,
            }
            seen += 1;
        }
        if last.contains("[DONE]") || last.contains("message_stop") {
            End::Well("200, streamed".to_owned())
        } else {
            End::Badly("stream without its end".to_owned())
        }
    }

    /// What an answer means to its client; one that nobody should ever get is a broken promise.
    fn judge(&self, answer: Result<Answer, tollgate_tests::Broken>) -> End {
        let Ok(answer) = answer else {
            return End::Badly("connection broken".to_owned());
        };
        let code = answer.code();
        let label = format!("{} {code}", answer.status).trim().to_owned();
        match answer.status {
            200 | 402 | 429 => End::Well(label),
            503 => End::Badly(label),
            _ => {
                self.broken
                    .note(format!("a client got {label}: {}", answer.text()));
                End::Badly(label)
            }
        }
    }
}

impl Call {
    fn new(kind: Kind, vanish_percent: u64, random: &mut Random) -> Self {
        let words = random.within(1..=20);
        let words = vec!["word"; usize::try_from(words).unwrap()].join(" ");
        let messages = json!([{"role": "user", "content": words}]);
        let output = random.within(1..=24);
        let stream = random.chance(60);
        let leaves = random.chance(vanish_percent);
        let leaves_after = leaves.then(|| random.within(0..=output));
        let chat = json!({"model": "gpt-4o-mini", "messages": messages, "stream": stream});
        let (path, body) = match (kind, random.within(0..=9)) {
            (Kind::All, 0..=2) => {
                let model = "claude-haiku-4-5";
                let body = json!({"model": model, "messages": messages, "max_tokens": output, "stream": stream});
                (MESSAGES, body)
            }
            (Kind::All, 3) => {
                let body = json!({"model": "text-embedding-3-small", "input": words});
                ("/v1/embeddings", body)
            }
            (Kind::Unbounded, _) => (CHAT, chat),
            (Kind::All | Kind::Chat, _) => {
                let mut body = chat;
                body["max_tokens"] = json!(output);
                (CHAT, body)
            }
        };
        Self {
            path,
            body,
            leaves_after,
        }
    }
}
