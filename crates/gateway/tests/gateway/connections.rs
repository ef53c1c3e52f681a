//! Connections to a provider: kept for the next call where that is safe, and closed where not.

use http::{Method, StatusCode};
use http_body_util::BodyExt;

use crate::provider::{Step, completion, end, json, stream};
use crate::stage::{Stage, hello, hello_streamed};
use crate::streams::{DONE, FIRST, SECOND};

#[tokio::test]
async fn calls_that_follow_each_other_go_out_on_one_connection() {
    let stage = Stage::set().await;
    let mut streamed = stream(&[FIRST, SECOND, DONE]);
    streamed.push(end());
    let empty = vec![Step::Send(
        b"HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n".to_vec(),
    )];
    for (steps, body) in [
        (completion(1, 1), hello()),
        (streamed, hello_streamed()),
        (json(429, "{}"), hello()),
        (empty, hello()),
        (completion(1, 1), hello()),
    ] {
        stage.provider.script(steps);
        stage.chat(&body).await;
    }
    assert_eq!(stage.provider.seen().len(), 5);
    assert_eq!(stage.provider.connections(), 1);
    stage.strike().await;
}

#[tokio::test]
async fn calls_at_the_same_time_have_a_connection_each_and_the_next_ones_share_them() {
    let stage = Stage::set().await;
    let body = hello();
    for _round in 0..3 {
        for _ in 0..2 {
            let steps = [vec![Step::Wait], completion(1, 1)].concat();
            stage.provider.script(steps);
        }
        let before = stage.provider.seen().len();
        let both = async {
            let said = tokio::join!(stage.chat(&body), stage.chat(&body));
            assert_eq!(
                (said.0.status, said.1.status),
                (StatusCode::OK, StatusCode::OK)
            );
        };
        tokio::pin!(both);
        tokio::select! {
            () = &mut both => panic!("an answer came unasked for"),
            () = stage.provider.arrived(before + 2) => {}
        }
        loop {
            stage.provider.go();
            tokio::select! {
                () = &mut both => break,
                () = tokio::task::yield_now() => {}
            }
        }
    }
    assert_eq!(stage.provider.connections(), 2);
    stage.strike().await;
}

#[tokio::test]
async fn a_connection_that_the_provider_ended_is_not_used_again() {
    let stage = Stage::set().await;
    for ended in 1..=3 {
        stage
            .provider
            .script([completion(1, 1), vec![Step::Close]].concat());
        assert_eq!(stage.chat(&hello()).await.status, StatusCode::OK);
        stage.provider.ended(ended).await;
    }
    assert_eq!(stage.provider.connections(), 3);
    stage.strike().await;
}

#[tokio::test]
async fn a_connection_whose_answer_was_not_read_to_its_end_is_closed() {
    let stage = Stage::set().await;
    let length = 64 << 20;
    let head = format!("HTTP/1.1 401 No\r\ncontent-length: {length}\r\n\r\n");
    stage.provider.script(vec![
        Step::Send(head.into_bytes()),
        Step::Again(vec![b'x'; 1 << 16], length >> 16),
    ]);
    let request = stage.request(Method::POST, "/v1/chat/completions", &hello());
    let refused = stage.open(request).await;
    assert_eq!(refused.status(), StatusCode::BAD_GATEWAY);
    drop(refused.into_body().collect().await);
    stage.provider.ended(1).await;
    stage.strike().await;
}
