//! Prices of one's own, and the models whose calls had none.

use cus_models::CusProviderType::OpenAi;
use tollgate_core::price::Rates;
use tollgate_core::price::overrides::PriceOverride;
use tollgate_core::usage::UsageEntry;
use tollgate_store::StoreError;

use crate::world::{World, audit, call, id_of, moment, refusal};

fn price(model: &str, input: i64) -> PriceOverride {
    let rates = Rates {
        input,
        ..Rates::default()
    };
    PriceOverride {
        provider_type: OpenAi,
        model: model.to_owned(),
        rates,
        tiers: Vec::new(),
        created_at: moment(5),
        updated_at: moment(5),
    }
}

pub(crate) async fn a_price_is_set_changed_and_removed_and_each_time_announced(world: &World) {
    let acme = world.create_tenant("acme").await;
    let other = world.create_tenant("other").await;
    let (store, operator) = (world.tenant(&acme), world.operator());
    let entry = || audit(Some(&acme), "price.set");
    let before = operator.latest_change().await.unwrap();
    let first = store.set_price(&price("m", 1), entry()).await.unwrap();
    assert_eq!(first, price("m", 1));
    // At the same moment, another time: what rows bear as its version is another one.
    let second = store.set_price(&price("m", 2), entry()).await.unwrap();
    assert!(second.updated_at > first.updated_at && second.created_at == first.created_at);
    assert_eq!(
        store.list_prices().await.unwrap(),
        std::slice::from_ref(&second)
    );
    assert!(world.tenant(&other).list_prices().await.unwrap().is_empty());
    let all = price("n", 3);
    let own = audit(None, "price.set");
    operator.set_installation_price(&all, own).await.unwrap();
    assert_eq!(
        operator.list_installation_prices().await.unwrap(),
        std::slice::from_ref(&all)
    );
    let mut loaded = operator.load_directory().await.unwrap().prices;
    loaded.sort_by_key(|(tenant, _)| tenant.clone());
    assert_eq!(loaded, [(None, all), (Some(acme.clone()), second)]);
    let heard = operator.changes_since(before).await.unwrap();
    let heard: Vec<_> = heard.into_iter().map(|change| change.id).collect();
    assert_eq!(heard, ["acme", "acme", ""]);

    let foreign = world
        .tenant(&other)
        .remove_price(OpenAi, "m", entry())
        .await;
    assert!(matches!(foreign, Err(StoreError::NotFound)));
    store.remove_price(OpenAi, "m", entry()).await.unwrap();
    assert!(store.list_prices().await.unwrap().is_empty());
    let own = audit(None, "price.remove");
    operator
        .remove_installation_price(OpenAi, "n", own)
        .await
        .unwrap();
    assert!(
        operator
            .list_installation_prices()
            .await
            .unwrap()
            .is_empty()
    );
}

pub(crate) async fn a_deleted_tenant_has_no_prices_and_gets_none(world: &World) {
    let acme = world.create_tenant("acme").await;
    let store = world.tenant(&acme);
    let entry = || audit(Some(&acme), "price.set");
    store.set_price(&price("m", 1), entry()).await.unwrap();
    let operator = world.operator();
    let delete = audit(None, "tenant.delete");
    operator.delete_tenant(&acme, delete).await.unwrap();
    assert!(store.list_prices().await.unwrap().is_empty());
    let again = store.set_price(&price("m", 1), entry()).await;
    assert!(matches!(again, Err(StoreError::NotFound)));
}

pub(crate) async fn calls_without_a_price_are_summed_by_model_and_counted_once(world: &World) {
    let acme = world.create_tenant("acme").await;
    let main = id_of(&world.create_integration(&acme, "main").await);
    let mut batch: Vec<UsageEntry> = (0..3)
        .map(|n| call(&acme, main, &format!("c-{n}")))
        .collect();
    let mut unpriced = refusal(&acme, main, "c-3");
    unpriced.error_code = Some("price_unknown".into());
    unpriced.created_at = moment(9);
    batch.push(unpriced);
    // Refused for another reason: nobody asked for its price.
    batch.push(refusal(&acme, main, "c-4"));
    let operator = world.operator();
    for _ in 0..2 {
        operator.append(&batch, moment(10)).await.unwrap();
    }
    let mut late = call(&acme, main, "c-5");
    late.model = "other".into();
    late.created_at = moment(20);
    operator.append(&[late], moment(20)).await.unwrap();
    let models = world.tenant(&acme).unpriced_models().await.unwrap();
    let seen: Vec<_> = models
        .iter()
        .map(|one| {
            (
                one.model.as_str(),
                one.calls,
                one.refused,
                one.tokens_in,
                one.tokens_out,
            )
        })
        .collect();
    assert_eq!(seen, [("other", 1, 0, 1, 2), ("gpt-4o", 3, 1, 3, 6)]);
    assert_eq!(models[1].first_seen_at, moment(0));
    assert_eq!(models[1].last_seen_at, moment(9));
    let other = world.create_tenant("other").await;
    assert!(
        world
            .tenant(&other)
            .unpriced_models()
            .await
            .unwrap()
            .is_empty()
    );
}
