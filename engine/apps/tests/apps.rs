//! What becomes of apps: each test drives the reconciler in a world whose rules hold all the time.

mod support;

use std::time::Duration;

use proptest::prelude::*;
use support::{World, app, document};
use yuanli_model::app::ReleaseNumber;
use yuanli_ports::Apps as _;
use yuanli_ports::apps::{
    AppError, Asker, Deployed, GrayPlan, GrayStep, Happening, RolloutOutcome, Settled, Wish,
};

const PATIENCE: Duration = Duration::from_secs(120);

fn asker(name: &str) -> Asker {
    Asker(name.to_owned())
}

async fn deploy(apps: &yuanli_apps::Apps, name: &str, app: yuanli_model::App) -> (Deployed, Settled) {
    let deployed = apps.deploy(&asker(name), app).await.expect("deployed");
    let settled = apps.settle(&deployed, PATIENCE).await.expect("settled");
    (deployed, settled)
}

fn name() -> yuanli_model::AppName {
    "shop".parse().expect("a name")
}

#[tokio::test(start_paused = true)]
async fn an_app_is_rolled_out_and_over_without_a_gap() {
    let world = World::new();
    let engine = world.engine().await;
    let (first, settled) = deploy(&engine.apps, "1", app("v1", 3)).await;
    assert_eq!(
        (settled.outcome, first.release, first.previous),
        (RolloutOutcome::Healthy, ReleaseNumber(1), None)
    );
    assert_eq!(world.weights(), [(1, 3)]);

    world.told();
    let (second, settled) = deploy(&engine.apps, "2", app("v2", 3)).await;
    assert_eq!(settled.outcome, RolloutOutcome::Healthy, "{}", settled.message);
    assert_eq!((second.release, second.previous), (ReleaseNumber(2), Some(ReleaseNumber(1))));
    // The last of the old ones may still be ending; it gets no requests.
    assert!(world.weights().contains(&(2, 3)), "{:?}", world.weights());
    until(|| world.running().iter().all(|(_, image)| image == "v2") && world.running().len() == 3).await;
    let told = world.told();
    let serving = told.iter().filter_map(|line| line.strip_prefix("serving ")?.parse::<u32>().ok());
    assert!(serving.clone().all(|serving| serving >= 3), "{told:?}");

    // Asked again with the same key, and with the same document.
    let again = engine.apps.deploy(&asker("2"), app("v2", 3)).await.expect("deployed");
    assert_eq!(again, second);
    let same = engine.apps.deploy(&asker("3"), app("v2", 3)).await.expect("deployed");
    assert_eq!(same.release, second.release);
}

#[tokio::test(start_paused = true)]
async fn a_release_that_does_not_serve_takes_no_place_and_can_be_undone() {
    for image in ["dumb", "dead"] {
        let world = World::new();
        let engine = world.engine().await;
        deploy(&engine.apps, "1", app("v1", 2)).await;
        world.told();
        let (bad, settled) = deploy(&engine.apps, "2", app(image, 2)).await;
        assert_eq!(settled.outcome, RolloutOutcome::Failed, "{image}: {}", settled.message);
        assert!(settled.message.contains("says good-bye"), "{}", settled.message);
        engine.apps.undo(&asker("3"), &bad, "it does not serve").await.expect("undone");
        let back = Deployed { release: ReleaseNumber(1), ..bad };
        let settled = engine.apps.settle(&back, PATIENCE).await.expect("settled");
        assert_eq!(settled.outcome, RolloutOutcome::Healthy);
        assert_eq!(world.running().iter().filter(|(_, image)| image == "v1").count(), 2);
        let told = world.told();
        assert!(
            !told.contains(&"serving 1".to_owned()) && !told.contains(&"serving 0".to_owned()),
            "{told:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn the_same_release_deployed_again_ends_by_how_it_stands_now() {
    let world = World::new();
    let engine = world.engine().await;
    deploy(&engine.apps, "1", app("v1", 2)).await;
    let (same, settled) = deploy(&engine.apps, "2", app("v1", 5)).await;
    assert_eq!((same.release, settled.outcome), (ReleaseNumber(1), RolloutOutcome::Healthy));
    assert_eq!(settled.message, "5 replicas of release #1 serve");
    assert_eq!(world.weights(), [(1, 5)]);

    // What kept it from serving is mended by somebody; then it is asked for once more.
    let (bad, settled) = deploy(&engine.apps, "3", app("dumb", 2)).await;
    assert_eq!(settled.outcome, RolloutOutcome::Failed);
    world.mend("dumb");
    let (again, settled) = deploy(&engine.apps, "4", app("dumb", 2)).await;
    assert_eq!((again.release, again.previous), (bad.release, bad.previous));
    assert_eq!(settled.outcome, RolloutOutcome::Healthy, "{}", settled.message);
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_dies_is_replaced() {
    let world = World::new();
    let engine = world.engine().await;
    deploy(&engine.apps, "1", app("v1", 2)).await;
    let (victim, _) = world.running().remove(0);
    world.kill(&victim);
    until(|| world.running().len() == 2 && world.weights() == [(1, 2)]).await;
    assert!(!world.running().iter().any(|(id, _)| *id == victim));
}

#[tokio::test(start_paused = true)]
async fn the_number_of_replicas_follows_wishes_windows_and_load() {
    let world = World::new();
    let engine = world.engine().await;
    deploy(&engine.apps, "1", app("v1", 2)).await;
    for (key, wish, expected) in
        [("a", Wish::Set(4), 4), ("b", Wish::Add(-1), 3), ("b", Wish::Add(-1), 3), ("c", Wish::Clear, 2)]
    {
        assert_eq!(engine.apps.scale(&asker(key), &name(), wish).await, Ok(expected), "{key}");
        assert_eq!(engine.apps.wait_scaled(&name(), PATIENCE).await, Ok(expected), "{key}");
        assert_eq!(world.running().len(), expected as usize);
    }
    let text = "app: shop\nimage: v1\nport: 80\nroute: /\nscaling: { minimum: 1, maximum: 6, metric: { in-flight: 5 } }\n";
    deploy(&engine.apps, "2", document(text)).await;
    world.set_in_flight(14);
    until(|| world.running().len() >= 3).await;
    world.set_in_flight(0);
    until(|| world.running().len() == 1).await;
    let view = engine.apps.app(&name()).expect("an app");
    assert!(!view.reasons.is_empty());

    let text = "app: shop\nimage: v1\nport: 80\nroute: /\nscaling: { minimum: 1, maximum: 6, metric: { cpu: 50% } }\n";
    deploy(&engine.apps, "3", document(text)).await;
    world.set_cpu_millis(900);
    until(|| world.running().len() == 6).await;
    world.set_cpu_millis(100);
    until(|| world.running().len() <= 2).await;
}

#[tokio::test(start_paused = true)]
async fn a_window_is_a_floor_while_it_is_open() {
    let world = World::new();
    let engine = world.engine().await;
    // The world begins at 22:13:20 UTC.
    let text = "app: shop\nimage: v1\nport: 80\nroute: /\nscaling:\n  minimum: 1\n  maximum: 6\n  windows:\n    - \
                { start: \"15 22 * * *\", end: \"17 22 * * *\", replicas: 4 }\n";
    deploy(&engine.apps, "1", document(text)).await;
    assert_eq!(world.running().len(), 1);
    tokio::time::sleep(Duration::from_secs(95)).await;
    assert_eq!(world.running().len(), 1, "it opens after 100 s");
    tokio::time::sleep(Duration::from_secs(15)).await;
    assert_eq!(world.running().len(), 4);
    let reasons = engine.apps.app(&name()).expect("an app").reasons.clone();
    assert!(reasons.iter().any(|reason| reason.contains("window")), "{reasons:?}");
    tokio::time::sleep(Duration::from_secs(100)).await;
    assert_eq!(world.running().len(), 4, "it closes after 220 s");
    until(|| world.running().len() == 1).await;
}

async fn gray(engine: &support::Engine, image: &str, step: Duration) -> (ReleaseNumber, Vec<Happening>) {
    let plan = GrayPlan {
        steps: [10, 50].map(|weight| GrayStep { weight, duration: step }).to_vec(),
        has_analysis: true,
    };
    let release = engine.apps.begin_release(&asker(image), app(image, 2), plan).await.expect("begun");
    (release, happenings(engine, release).await)
}

async fn happenings(engine: &support::Engine, release: ReleaseNumber) -> Vec<Happening> {
    let mut seen = Vec::new();
    while let Some(happening) =
        engine.apps.happening(&name(), release, u32::try_from(seen.len()).expect("few")).await.expect("known")
    {
        seen.push(happening);
    }
    seen
}

#[tokio::test(start_paused = true)]
async fn a_release_that_is_as_good_is_promoted_and_a_worse_one_turned_back() {
    let world = World::new();
    let engine = world.engine().await;
    deploy(&engine.apps, "1", app("v1", 2)).await;
    let (good, happenings) = gray(&engine, "v2", Duration::from_secs(60)).await;
    let end = happenings.last().and_then(|happening| happening.end.clone()).expect("an end");
    assert!(end.is_promoted, "{end:?}");
    let weights: Vec<u32> = happenings.iter().map(|happening| happening.weight).collect();
    assert_eq!(weights, [0, 10, 50, 100], "{happenings:?}");
    until(|| world.running().len() == 2 && world.running().iter().all(|(_, image)| image == "v2")).await;
    assert_eq!(engine.apps.inspect(&name()).await.expect("known").stable, Some(good));

    until(|| world.weights() == [(2, 2)]).await;
    let (_, happenings) = gray(&engine, "bad-v3", Duration::from_secs(60)).await;
    let end = happenings.last().and_then(|happening| happening.end.clone()).expect("an end");
    assert!(!end.is_promoted && happenings.last().is_some_and(|last| last.weight == 0), "{end:?}");
    assert!(
        end.evidence["errors"]["worse_odds"].as_f64().is_some_and(|odds| odds > 20.0),
        "{}",
        end.evidence
    );
    until(|| world.running().len() == 2 && world.weights() == [(2, 2)]).await;

    // One that never serves is turned back, too, and an exclusive one is refused.
    let (_, happenings) = gray(&engine, "dead-v4", Duration::from_secs(60)).await;
    assert!(happenings.last().and_then(|last| last.end.as_ref()).is_some_and(|end| !end.is_promoted));
    let exclusive =
        document("app: shop\nimage: v5\nport: 80\nroute: /\nvolumes: { data: { path: /data } }\n");
    let plan = GrayPlan { steps: vec![GrayStep { weight: 10, duration: PATIENCE }], has_analysis: false };
    let refused = engine.apps.begin_release(&asker("5"), exclusive, plan).await;
    assert!(matches!(refused, Err(AppError::Invalid(_))), "{refused:?}");
}

#[tokio::test(start_paused = true)]
async fn an_exclusive_volume_has_one_user_at_a_time() {
    let world = World::new();
    let engine = world.engine().await;
    let shop = |image: &str| {
        document(&format!(
            "app: shop\nimage: {image}\nport: 80\nroute: /\nvolumes: {{ data: {{ path: /data }} }}\n"
        ))
    };
    deploy(&engine.apps, "1", shop("v1")).await;
    world.told();
    deploy(&engine.apps, "2", shop("v2")).await;
    let told: Vec<String> = world.told().into_iter().filter(|line| !line.starts_with("serving")).collect();
    assert_eq!(told, ["remove shop.1.1", "start shop.2.2"]);
    let other =
        document("app: other\nimage: v1\nport: 80\nvolumes: { data: { path: /data, mode: shared } }\n");
    let refused = engine.apps.deploy(&asker("3"), other).await;
    assert!(matches!(refused, Err(AppError::Invalid(_))), "{refused:?}");
}

#[tokio::test(start_paused = true)]
async fn a_backup_pauses_those_who_use_the_volume_whatever_becomes_of_it() {
    let world = World::new();
    let engine = world.engine().await;
    let text = "app: shop\nimage: v1\nport: 80\nreplicas: 2\nroute: /\nvolumes: { data: { path: /data, mode: shared } }\n";
    deploy(&engine.apps, "1", document(text)).await;
    world.told();
    let volume = "data".parse().expect("a name");
    let back_up = |pause: u64| {
        let (apps, volume, asker) = (engine.apps.clone(), &volume, asker("b"));
        let cancel = yuanli_ports::Cancellation::new();
        async move { apps.back_up(&asker, volume, "/r".into(), Duration::from_secs(pause), &cancel).await }
    };
    let snapshot = back_up(60).await.expect("backed up");
    // As long as the snapshot takes, and not until somebody looks at the replicas the next time.
    assert!(
        (Duration::from_secs(2)..Duration::from_secs(3)).contains(&snapshot.paused),
        "{:?}",
        snapshot.paused
    );
    assert!(world.told().contains(&"back up /volumes/data with 2 paused".to_owned()));
    until(|| world.paused() == 0).await;

    // Too little time; given up in the middle; the engine killed in the middle.
    assert!(matches!(back_up(1).await, Err(AppError::Unavailable(_))));
    until(|| world.paused() == 0).await;
    assert!(tokio::time::timeout(Duration::from_secs(1), back_up(60)).await.is_err());
    until(|| world.paused() == 0).await;
    assert!(tokio::time::timeout(Duration::from_secs(1), back_up(60)).await.is_err());
    engine.kill();
    let _engine = world.engine().await;
    until(|| world.paused() == 0 && world.running().len() == 2).await;
}

#[tokio::test(start_paused = true)]
async fn a_restore_that_was_cut_off_begins_anew_and_no_app_gets_a_part_of_it() {
    let world = World::new();
    let engine = world.engine().await;
    let volume: yuanli_model::VolumeName = "data".parse().expect("a name");
    let restore = |engine: &support::Engine, key: &str| {
        let (apps, volume, asker) = (engine.apps.clone(), volume.clone(), asker(key));
        async move { apps.restore(&asker, "/r".into(), "s", &volume, &yuanli_ports::Cancellation::new()).await }
    };
    let (first, second) = tokio::join!(restore(&engine, "1"), restore(&engine, "2"));
    assert!(first.is_ok() && matches!(second, Err(AppError::Busy(_))), "one at a time: {second:?}");
    let again = restore(&engine, "3").await;
    assert!(matches!(&again, Err(AppError::Invalid(why)) if why.contains("not empty")), "{again:?}");
    assert_eq!(world.files("data"), Some(2), "what was whole stays so");

    let volume: yuanli_model::VolumeName = "other".parse().expect("a name");
    let restore = |engine: &support::Engine| {
        let (apps, volume, asker) = (engine.apps.clone(), volume.clone(), asker("4"));
        async move { apps.restore(&asker, "/r".into(), "s", &volume, &yuanli_ports::Cancellation::new()).await }
    };
    assert!(tokio::time::timeout(Duration::from_secs(1), restore(&engine)).await.is_err());
    engine.kill();
    let engine = world.engine().await;
    assert_eq!(world.files("other"), Some(1), "a part of it");
    let shop = "app: shop\nimage: v1\nport: 80\nvolumes: { other: { path: /data, mode: shared } }\n";
    let refused = engine.apps.deploy(&asker("5"), document(shop)).await;
    assert!(matches!(&refused, Err(AppError::Busy(why)) if why.contains("cut off")), "{refused:?}");
    restore(&engine).await.expect("restored");
    assert_eq!(world.files("other"), Some(2));
    deploy(&engine.apps, "6", document(shop)).await;
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_is_refused_with_a_reason() {
    let world = World::new();
    let engine = world.engine().await;
    let missing = engine.apps.deploy(&asker("1"), app("missing", 1)).await;
    assert_eq!(missing, Err(AppError::Invalid("there is no image `missing`".to_owned())));
    let absent = engine.apps.scale(&asker("2"), &name(), Wish::Set(1)).await;
    assert_eq!(absent, Err(AppError::NotFound("there is no app `shop`".to_owned())));
    deploy(&engine.apps, "3", app("v1", 1)).await;
    let same_route = document("app: other\nimage: v1\nport: 80\nroute: /\n");
    assert!(matches!(engine.apps.deploy(&asker("4"), same_route).await, Err(AppError::Invalid(_))));

    engine.apps.delete(&name()).await.expect("deleted");
    engine.apps.wait_gone(&name(), PATIENCE).await.expect("gone");
    assert_eq!((world.running(), world.weights()), (Vec::new(), Vec::new()));
}

#[tokio::test(start_paused = true)]
async fn whoever_asks_while_the_disk_is_full_is_told_and_what_was_asked_is_done_when_there_is_room() {
    let world = World::new();
    let engine = world.engine().await;
    deploy(&engine.apps, "1", app("v1", 1)).await;
    world.set_disk_full(true);
    let told = tokio::time::timeout(PATIENCE, engine.apps.deploy(&asker("2"), app("v2", 1))).await;
    let Ok(Err(AppError::Unavailable(why))) = told else { panic!("{told:?}") };
    assert!(why.contains("no space left"), "{why}");
    let refused = engine.apps.scale(&asker("3"), &"other".parse().expect("a name"), Wish::Set(1)).await;
    assert!(matches!(refused, Err(AppError::NotFound(_))), "what is wrong is told all the same: {refused:?}");
    assert_eq!(world.running().len(), 1, "nothing is begun that is not kept");
    world.set_disk_full(false);
    until(|| world.running().iter().all(|(_, image)| image == "v2") && world.running().len() == 1).await;
    let (again, _) = deploy(&engine.apps, "2", app("v2", 1)).await;
    assert_eq!(again.release, ReleaseNumber(2), "whoever asks again gets the answer");
}

#[tokio::test(start_paused = true)]
async fn what_would_be_refused_and_an_image_that_moved_are_foreseen() {
    let world = World::new();
    let engine = world.engine().await;
    let foreseen = engine.apps.foresee(&app("v1", 1)).await.expect("fine");
    assert_eq!((foreseen.image_id.as_str(), foreseen.before), ("v1", None));
    deploy(&engine.apps, "1", app("v1", 1)).await;
    let foreseen = engine.apps.foresee(&app("v2", 1)).await.expect("fine");
    assert_eq!((foreseen.image_id.as_str(), foreseen.before.as_deref()), ("v2", Some("v1")));
    let same_route = document("app: other\nimage: v1\nport: 80\nroute: /\n");
    let large = format!("app: other\nimage: v1\nport: 80\nenv: {{ A: {} }}\n", "x".repeat(200_000));
    for (wrong, says) in
        [(app("missing", 1), "no image"), (same_route, "has the route"), (document(&large), "131072")]
    {
        let foreseen = engine.apps.foresee(&wrong).await;
        assert!(
            matches!(&foreseen, Err(AppError::Invalid(why)) if why.contains(says)),
            "{says}: {foreseen:?}"
        );
        assert_eq!(engine.apps.deploy(&asker(says), wrong).await.err(), foreseen.err(), "and refused so");
    }
    let plan = GrayPlan { steps: vec![GrayStep { weight: 10, duration: PATIENCE }], has_analysis: false };
    engine.apps.begin_release(&asker("2"), app("v2", 1), plan).await.expect("begun");
    let foreseen = engine.apps.foresee(&app("v3", 1)).await;
    assert!(matches!(foreseen, Err(AppError::Busy(_))), "{foreseen:?}");
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_is_gone_for_a_while_stops_nothing_for_good() {
    let world = World::new();
    let engine = world.engine().await;
    deploy(&engine.apps, "1", app("v1", 2)).await;
    world.set_gateway_gone(true);
    let deployed = engine.apps.deploy(&asker("2"), app("v2", 2)).await.expect("deployed");
    tokio::time::sleep(Duration::from_secs(10)).await;
    world.set_gateway_gone(false);
    let settled = engine.apps.settle(&deployed, PATIENCE).await.expect("settled");
    assert_eq!(settled.outcome, RolloutOutcome::Healthy, "{}", settled.message);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whenever an engine is killed, the next one brings what was begun to one of its ends, and the world's rules hold.
    #[test]
    fn killed_anywhere_it_goes_on(kills in prop::collection::vec(1u64..20_000, 1..6), is_good in any::<bool>()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.expect("a runtime").block_on(async {
            let world = World::new();
            let mut engine = world.engine().await;
            deploy(&engine.apps, "1", app("v1", 2)).await;
            let image = if is_good { "v2" } else { "bad-v2" };
            let steps = [10, 50].map(|weight| GrayStep { weight, duration: Duration::from_secs(20) }).to_vec();
            let plan = GrayPlan { steps, has_analysis: true };
            let begin = async |engine: &support::Engine| {
                engine.apps.begin_release(&asker("2"), app(image, 2), plan.clone()).await
            };
            begin(&engine).await.expect("begun");
            for kill in kills {
                tokio::time::sleep(Duration::from_millis(kill)).await;
                engine.kill();
                engine = world.engine().await;
                // Whoever asked asks again, and gets the same release.
                assert_eq!(begin(&engine).await, Ok(ReleaseNumber(2)));
            }
            let happenings = happenings(&engine, ReleaseNumber(2)).await;
            let end = happenings.last().and_then(|last| last.end.clone()).expect("an end");
            let serving = if end.is_promoted { 2 } else { 1 };
            until(|| world.weights() == [(serving, 2)] && world.running().len() == 2).await;
            assert!(is_good || !end.is_promoted, "{end:?}");
        });
    }
}

/// Waits until something holds; a test fails when it does not within ten minutes of its clock.
async fn until(mut holds: impl FnMut() -> bool) {
    for _ in 0..6_000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("it did not come");
}
