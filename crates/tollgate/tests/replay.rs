//! Replaying traces against the simulated provider, over real sockets.
#![expect(clippy::unwrap_used, reason = "a test stops where it fails")]

use std::{convert::Infallible, fmt::Write as _, path::Path, time::Duration};

use http::{HeaderValue, Request, Response};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use indicatif::ProgressBar;
use tollgate::{
    replay::{self, Bill, Key, Options, Plan, ReplayError},
    simulate::{self, Config, Faults, Simulator},
};

const TRACE: &str = "TIMESTAMP,ContextTokens,GeneratedTokens\n\
    2023-11-16 18:15:46.6805900,374,44\n\
    2023-11-16 18:15:46.6905900,3,109\n\
    2023-11-16 18:15:46.7005900,0,1\n";

async fn provider(faults: Faults) -> Simulator {
    simulate::start(Config {
        faults,
        ..Config::default()
    })
    .await
    .unwrap()
}

fn options(provider: &Simulator) -> Options {
    Options::new(provider.url(), Key::new("sk-test\n").unwrap())
}

async fn replayed(trace: &str, options: Options) -> Bill {
    replay::run(Plan::parse(trace).unwrap(), options, &ProgressBar::hidden())
        .await
        .unwrap()
}

#[tokio::test]
async fn every_row_becomes_a_call_with_exactly_its_tokens() {
    let provider = provider(Faults::default()).await;
    let bill = replayed(TRACE, options(&provider)).await;
    assert_eq!((bill.calls, bill.ok, bill.failed), (3, 3, 0));
    assert_eq!((bill.tokens_in, bill.tokens_out), (377, 154));
    assert_eq!((bill.sent_tokens_in, bill.asked_tokens_out), (377, 154));
    assert_eq!(bill.without_usage, 0);
    // The simulated provider does not state costs; a gateway does.
    assert_eq!(
        (bill.cost_usd.as_str(), bill.without_cost),
        ("0.000000000", 3)
    );
    let mut billed: Vec<(u64, u64)> = provider
        .journal()
        .iter()
        .map(|line| (line.tokens_in, line.tokens_out))
        .collect();
    billed.sort_unstable();
    assert_eq!(billed, [(0, 1), (3, 109), (374, 44)]);
    assert!(
        provider
            .journal()
            .iter()
            .all(|line| line.model == "gpt-4o-mini")
    );
}

#[tokio::test]
async fn many_calls_at_a_time_are_each_made_once() {
    let provider = provider(Faults::default()).await;
    let mut trace = "TIMESTAMP,ContextTokens,GeneratedTokens\n".to_owned();
    for row in 0..500 {
        writeln!(trace, "2023-11-16 18:15:46,{row},{}", row % 7).unwrap();
    }
    let bill = replayed(&trace, options(&provider)).await;
    assert_eq!((bill.calls, bill.ok, provider.billed()), (500, 500, 500));
    assert_eq!(bill.tokens_in, (0..500).sum::<u64>());
    assert_eq!(bill.tokens_out, (0..500).map(|row| row % 7).sum::<u64>());
    assert!(bill.calls_per_second > 0.0 && bill.latency_p50_ms <= bill.latency_p99_ms);
}

#[tokio::test]
async fn a_throttled_call_waits_and_succeeds() {
    let faults = Faults {
        error_rate: 0.5,
        error_status: 429,
        retry_after_s: Some(0),
        ..Faults::default()
    };
    let provider = provider(faults).await;
    let bill = replayed(
        TRACE,
        Options {
            concurrency: 1,
            ..options(&provider)
        },
    )
    .await;
    assert_eq!((bill.ok, bill.failed, bill.retries), (3, 0, 2));
    assert_eq!(provider.billed(), 3);
}

#[tokio::test]
async fn a_call_that_is_refused_for_good_is_counted_by_its_status() {
    let always = Faults {
        error_rate: 1.0,
        error_status: 402,
        ..Faults::default()
    };
    let provider = provider(always).await;
    let bill = replayed(TRACE, options(&provider)).await;
    assert_eq!((bill.ok, bill.failed, bill.retries), (0, 3, 0));
    assert_eq!(bill.refused.get(&402), Some(&3));
    let throttled = Faults {
        error_status: 503,
        retry_after_s: Some(0),
        ..always
    };
    provider.set_faults(throttled).unwrap();
    let bill = replayed(
        TRACE,
        Options {
            attempts: 4,
            ..options(&provider)
        },
    )
    .await;
    assert_eq!((bill.failed, bill.retries), (3, 9));
    assert_eq!(bill.refused.get(&503), Some(&3));
    provider
        .set_faults(Faults {
            cut_after: Some(5),
            ..Faults::default()
        })
        .unwrap();
    let bill = replayed(TRACE, options(&provider)).await;
    assert_eq!((bill.failed, bill.unreachable), (3, 3));
}

#[tokio::test]
async fn the_recorded_pace_is_kept() {
    let provider = provider(Faults::default()).await;
    let started = tokio::time::Instant::now();
    let bill = replayed(
        TRACE,
        Options {
            speed: 0.2,
            ..options(&provider)
        },
    )
    .await;
    assert!(started.elapsed() >= Duration::from_millis(100));
    assert!(bill.wall_ms >= 100);
    assert_eq!(bill.ok, 3);
}

#[tokio::test]
async fn a_start_that_had_to_wait_for_others_is_reported_as_late() {
    let provider = provider(Faults {
        latency_ms: 50,
        ..Faults::default()
    })
    .await;
    let bill = replayed(
        TRACE,
        Options {
            speed: 1.0,
            concurrency: 1,
            ..options(&provider)
        },
    )
    .await;
    assert_eq!(bill.ok, 3);
    assert!(bill.late >= 2, "{}", bill.late);
    assert!(bill.late_max_ms >= 70, "{}", bill.late_max_ms);
}

#[tokio::test]
async fn options_that_cannot_work_are_refused_before_anything_is_sent() {
    let provider = provider(Faults::default()).await;
    let options = || options(&provider);
    let url = |url: &str| Options {
        url: url.to_owned(),
        ..options()
    };
    let speed = |speed| Options { speed, ..options() };
    let integration = Some("a\nb".to_owned());
    for (wrong, says) in [
        (url("https://example.com"), "http://"),
        (url("not a url"), "not a URL"),
        (url("/v1"), "http://"),
        (speed(-1.0), "speed"),
        (speed(f64::NAN), "speed"),
        (
            Options {
                concurrency: 0,
                ..options()
            },
            "concurrency",
        ),
        (
            Options {
                integration,
                ..options()
            },
            "integration",
        ),
    ] {
        let error = replay::run(Plan::parse(TRACE).unwrap(), wrong, &ProgressBar::hidden())
            .await
            .unwrap_err();
        assert!(matches!(error, ReplayError::Option(_)));
        assert!(error.to_string().contains(says), "{error}");
    }
    assert!(matches!(Key::new(" \n"), Err(ReplayError::NoKey)));
    assert_eq!(format!("{:?}", Key::new("sk-secret").unwrap()), "Key");
    assert_eq!(provider.billed(), 0);
}

#[tokio::test]
async fn what_answers_say_they_cost_is_added_up_exactly() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let gateway = async move {
        let (stream, _) = listener.accept().await.unwrap();
        let service = service_fn(|request: Request<Incoming>| async move {
            let headers = request.headers();
            assert_eq!(headers["authorization"], "Bearer sk-test");
            assert_eq!(headers["x-tollgate-integration"], "main");
            let mut answer = Response::new(String::from(r#"{"usage":null}"#));
            let cost = HeaderValue::from_static("0.000000007");
            answer.headers_mut().insert("x-tollgate-cost-usd", cost);
            Ok::<_, Infallible>(answer)
        });
        http1::Builder::new()
            .serve_connection(TokioIo::new(stream), service)
            .await
    };
    let options = Options {
        integration: Some("main".to_owned()),
        concurrency: 1,
        ..Options::new(url, Key::new("sk-test").unwrap())
    };
    let bill = tokio::select! {
        bill = replayed(TRACE, options) => bill,
        served = gateway => panic!("the connection ended: {served:?}"),
    };
    assert_eq!((bill.ok, bill.without_usage, bill.without_cost), (3, 3, 0));
    assert_eq!(bill.cost_usd, "0.000000021");
}

#[test]
fn the_real_trace_is_read_whole() {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/azure-llm-2023/conv.csv");
    if !path.exists() {
        println!(
            "not checked: the recorded trace {} is not on this machine",
            path.display()
        );
        return;
    }
    let plan = Plan::read(&path).unwrap();
    assert_eq!(plan.rows().len(), 19_366);
    assert_eq!(
        plan.rows().iter().map(|row| row.tokens_in).sum::<u64>(),
        22_361_870
    );
    assert_eq!(
        plan.rows().iter().map(|row| row.tokens_out).sum::<u64>(),
        4_088_665
    );
    assert_eq!(plan.rows()[0].offset, Duration::ZERO);
    assert!(plan.rows().is_sorted_by_key(|row| row.offset));
}
