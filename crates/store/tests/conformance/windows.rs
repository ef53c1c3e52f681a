//! The minute of a node that is alone on its store.

use tollgate_core::Moment;

use crate::world::{World, call, id_of, moment, refusal};

pub(crate) async fn calls_are_counted_in_their_minute_with_their_rows_and_once(world: &World) {
    let acme = world.create_tenant("acme").await;
    let id = id_of(&world.create_integration(&acme, "main").await);
    let operator = world.operator();
    let now = |seconds: i64| Moment {
        wall: moment(1),
        steady_micros: seconds * 1_000_000,
    };
    let kept = async |seconds: i64| -> Vec<(i64, i64)> {
        let kept = operator.kept_minute(id, now(seconds)).await.unwrap();
        kept.slots().collect()
    };
    let batch = [
        call(&acme, id, "a"),
        call(&acme, id, "b"),
        call(&acme, id, "c"),
        refusal(&acme, id, "r"),
    ];
    let marks = [Some(101_000_000), Some(100_050_000), Some(100_000_000)];
    for _again in 0..2 {
        operator
            .append_counting(&batch, &marks, now(102))
            .await
            .unwrap();
        assert_eq!(kept(102).await, [(1_000, 2), (1_010, 1)]);
    }
    operator.count_call(id, &acme, now(130)).await.unwrap();
    operator
        .append(&[call(&acme, id, "uncounted")], moment(2))
        .await
        .unwrap();
    assert_eq!(kept(130).await, [(1_000, 2), (1_010, 1), (1_300, 1)]);
    // The first is more than a minute old; and what a machine counted that started anew counts as made now.
    assert_eq!(kept(161).await, [(1_010, 1), (1_300, 1)]);
    assert_eq!(kept(3).await, [(30, 4)]);
    let other = id_of(&world.create_integration(&acme, "other").await);
    let none = operator.kept_minute(other, now(130)).await.unwrap();
    assert_eq!(none.slots().count(), 0);
}
