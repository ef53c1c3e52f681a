//! Requests with an idempotency key: begun once, answered once, forgotten when they are old.

use tokio::task::JoinSet;
use tollgate_store::{Begun, IdempotentRequest};

use crate::world::{World, moment};

fn request(id: u8, digest: u8, seconds: i64) -> IdempotentRequest {
    IdempotentRequest {
        id: [id; 32],
        tenant: Some("acme".parse().unwrap()),
        digest: [digest; 32],
        started_at: moment(seconds),
    }
}

pub(crate) async fn a_request_is_begun_once_and_its_answer_is_found_again(world: &World) {
    let operator = world.operator();
    let begin = async |id, digest| {
        operator
            .begin_request(request(id, digest, 10), moment(0))
            .await
    };
    assert_eq!(begin(1, 1).await.unwrap(), Begun::New);
    let unanswered = Begun::Unanswered {
        node: world.store.node(),
        started_at: moment(10),
    };
    assert_eq!(begin(1, 1).await.unwrap(), unanswered);
    assert_eq!(begin(1, 2).await.unwrap(), Begun::OfAnother);
    assert_eq!(begin(2, 2).await.unwrap(), Begun::New);
    let answer = vec![7, 0, 7];
    operator
        .answer_request([1; 32], answer.clone())
        .await
        .unwrap();
    assert_eq!(begin(1, 1).await.unwrap(), Begun::Answered(answer.clone()));
    assert_eq!(begin(1, 2).await.unwrap(), Begun::OfAnother);
    // What has an answer is not forgotten by mistake, what has none may come again.
    operator.forget_request([1; 32]).await.unwrap();
    operator.forget_request([2; 32]).await.unwrap();
    assert_eq!(begin(1, 1).await.unwrap(), Begun::Answered(answer));
    assert_eq!(begin(2, 3).await.unwrap(), Begun::New);
}

pub(crate) async fn of_many_that_begin_the_same_request_at_once_one_does_it(world: &World) {
    let mut tasks = JoinSet::new();
    for _ in 0..8 {
        let operator = world.operator();
        tasks.spawn(async move { operator.begin_request(request(1, 1, 5), moment(0)).await });
    }
    let begun = tasks.join_all().await.into_iter();
    let begun = begun.filter(|begun| *begun.as_ref().unwrap() == Begun::New);
    assert_eq!(begun.count(), 1);
}

pub(crate) async fn an_old_request_is_forgotten(world: &World) {
    let operator = world.operator();
    for (id, seconds) in [(1, 10), (2, 20), (3, 30)] {
        let begun = operator.begin_request(request(id, 1, seconds), moment(0));
        assert_eq!(begun.await.unwrap(), Begun::New);
    }
    assert_eq!(
        operator.forget_requests_before(moment(20)).await.unwrap(),
        1
    );
    // Also one that was not cleared away yet does not count any more.
    let again = operator.begin_request(request(2, 9, 40), moment(21)).await;
    assert_eq!(again.unwrap(), Begun::New);
    let young = operator.begin_request(request(3, 9, 40), moment(21)).await;
    assert_eq!(young.unwrap(), Begun::OfAnother);
}
