//! Any platform, written and read back; any text, read without a panic. Owns the strategies that make platforms.

use super::{EXAMPLE, notes};
use crate::platform::{parse_platform, write_platform};
use astern_model::helm::Settings;
use astern_model::id::Uid;
use astern_model::login::{LoginProbe, Proof};
use astern_model::platform::{
    ArgoCd, ArgoCdServer, HeaderExpectation, JsonExpectation, Member, Platform, Probe, ProbeTarget, SecretRef,
};
use astern_model::policy::{Acceptor, OnFailure, Policy, Row, Say, When};
use astern_model::target::{Target, WorkloadKind};
use jiff::SignedDuration;
use proptest::prelude::*;
use serde_json::Value;
use std::collections::BTreeSet;

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z]([a-z0-9-]{0,8}[a-z0-9])?",
        Just("yes".to_owned()),
        Just("null".to_owned()),
        "[0-9]{1,3}",
        Just("1e3".to_owned())
    ]
}

fn span() -> impl Strategy<Value = SignedDuration> {
    (1_i64..400_000_000).prop_map(SignedDuration::from_millis)
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>()
            .prop_filter("JSON has none", |n| n.is_finite())
            .prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map(any::<String>(), inner, 0..3)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn probe() -> impl Strategy<Value = Probe> {
    let service = (name(), 1_u16.., "/[!-~]{0,12}")
        .prop_map(|(service, port, path)| (ProbeTarget::Service { service, port, path }, None));
    let bearer = prop_oneof![
        "[A-Z_]{1,8}".prop_map(SecretRef::Env),
        "[ -~]{1,20}".prop_map(SecretRef::File),
        (name(), "[a-z._-]{1,8}").prop_map(|(secret, key)| SecretRef::Secret { secret, key }),
    ];
    let url = (
        "https?://[a-z]{1,5}(:[0-9]{2})?/[!-~]{0,12}",
        prop::option::of(bearer),
    )
        .prop_map(|(url, bearer)| (ProbeTarget::Url(url), bearer));
    let json = ("(/[!-~]{0,6})?", value()).prop_map(|(path, equals)| JsonExpectation { path, equals });
    let header =
        ("[A-Za-z-]{1,8}", any::<String>()).prop_map(|(name, equals)| HeaderExpectation { name, equals });
    let label = "[!-~][ -~]{0,8}";
    (
        label,
        prop_oneof![service, url],
        100_u16..600,
        prop::option::of(json),
        prop::option::of(header),
    )
        .prop_map(|(name, (to, bearer), status, json, header)| Probe {
            name,
            to,
            status,
            json,
            header,
            bearer,
        })
}

/// Members whose dependencies point backwards only, so that there is no circle.
fn members() -> impl Strategy<Value = Vec<Member>> {
    let kind = prop::sample::select(WorkloadKind::ALL.to_vec());
    let one = (
        kind,
        name(),
        prop::collection::vec(any::<prop::sample::Index>(), 0..3),
        prop::collection::vec(probe(), 0..2),
    );
    prop::collection::vec(one, 0..6).prop_map(|list| {
        let mut members: Vec<Member> = Vec::new();
        for (kind, name, before, probes) in list {
            let target = Target {
                kind,
                namespace: "shop".to_owned(),
                name,
            };
            if members.iter().any(|member| member.target == target) {
                continue;
            }
            let targets: Vec<Target> = members.iter().map(|member| member.target.clone()).collect();
            let picked: BTreeSet<Target> = before
                .iter()
                .filter(|_| !targets.is_empty())
                .map(|index| index.get(&targets).clone())
                .collect();
            let mut seen = BTreeSet::new();
            let probes: Vec<Probe> = probes
                .into_iter()
                .filter(|probe| seen.insert(probe.name.clone()))
                .collect();
            members.push(Member {
                target,
                depends_on: picked.into_iter().collect(),
                reloads: probes.len() > 1,
                stops: probes.len() == 1,
                probes,
            });
        }
        members
    })
}

fn policy() -> impl Strategy<Value = Policy> {
    let when = prop::sample::select(vec![
        When::CrashLoop,
        When::ErrorLines,
        When::FormerFailsAlike,
        When::AllHealthy,
    ]);
    let then = prop::sample::select(vec![Say::RollBack, Say::Ask, Say::DoNot]);
    let replaced = (0_usize..8, when.clone(), then.clone(), any::<String>());
    let added = ("x-[a-z]{1,4}", when, then, any::<String>());
    let limits = (1.0_f64..1e9, 0.0_f64..1e9, 0.0_f64..1e-9);
    let acceptors = prop::sample::subsequence(vec![Acceptor::Person, Acceptor::Yes], 0..=2);
    let words = prop::collection::vec("[A-Z!]{1,6}", 1..4);
    let (unwind, tags) = (any::<bool>(), prop::collection::vec(any::<String>(), 0..3));
    (
        (span(), span(), span(), span()),
        acceptors,
        unwind,
        words,
        tags,
        limits,
        (replaced, added),
    )
        .prop_map(
            |(spans, accept_presumed, unwind, words, mutable_tags, limits, (replaced, added))| {
                let mut policy = Policy::default();
                (
                    policy.presumed_good_after,
                    policy.plan_expiry,
                    policy.logs.window,
                    policy.bake,
                ) = spans;
                policy.on_failure = if unwind {
                    OnFailure::Unwind
                } else {
                    OnFailure::Hold
                };
                (
                    policy.logs.times_former,
                    policy.logs.at_least_per_minute,
                    policy.logs.absolute_per_minute,
                ) = limits;
                (policy.accept_presumed, policy.mutable_tags, policy.logs.words) =
                    (accept_presumed, mutable_tags, words);
                let (place, when, then, because) = replaced;
                policy.matrix[place] = Row {
                    id: policy.matrix[place].id.clone(),
                    when,
                    then,
                    because,
                };
                let (id, when, then, because) = added;
                policy.matrix.push(Row {
                    id,
                    when,
                    then,
                    because,
                });
                policy
            },
        )
}

/// Where a token is that is in no cluster.
fn token() -> impl Strategy<Value = SecretRef> {
    prop_oneof![
        "[A-Z_]{1,8}".prop_map(SecretRef::Env),
        "[ -~]{1,20}".prop_map(SecretRef::File),
    ]
}

fn proof() -> impl Strategy<Value = Proof> {
    let env = prop::collection::btree_map("[A-Z_]{1,3}X", "\\PC{0,9}", 1..3);
    let login = (prop::collection::vec("\\PC{1,9}", 1..4), env, 1..=60_i64);
    let login = login.prop_map(|(command, env, timeout)| LoginProbe {
        command,
        env,
        timeout: SignedDuration::from_secs(timeout),
    });
    prop_oneof![Just(Proof::NeverRotates), login.prop_map(Proof::Login)]
}

fn platforms() -> impl Strategy<Value = Platform> {
    let uid = prop::option::of("[!-~]{1,36}".prop_map(Uid));
    let secrets = prop::collection::btree_map("[a-z]{1,9}", prop::option::of(proof()), 0..3);
    let context = prop::option::of("[!-~]{1,20}");
    let server = (
        "https://[a-z]{1,9}(/[a-z]{1,5})?",
        token(),
        prop::option::of("/[!-~]{1,9}"),
    );
    let server = server.prop_map(|(address, token, ca_file)| ArgoCdServer {
        address,
        token,
        ca_file,
    });
    let argocd = (context, prop::option::of("[a-z]{1,9}"), prop::option::of(server));
    // A server is asked instead of a cluster.
    let argocd = argocd.prop_map(|(context, namespace, server)| ArgoCd {
        context: context.filter(|_| server.is_none()),
        namespace,
        server,
    });
    let helm = (span(), any::<bool>(), any::<bool>(), any::<bool>());
    let helm = helm.prop_map(|(timeout, wait, cleanup_on_fail, force_conflicts)| Settings {
        timeout,
        wait,
        cleanup_on_fail,
        force_conflicts,
    });
    let owners = (span(), argocd, helm);
    (name(), uid, members(), span(), span(), policy(), secrets, owners).prop_map(
        |(name, cluster_uid, members, rto, soak, policy, restore_secrets, (guard, argocd, helm))| Platform {
            name,
            restore_secrets,
            namespace: "shop".to_owned(),
            cluster_uid,
            members,
            rto,
            soak,
            guard,
            argocd,
            helm,
            policy,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn every_written_platform_reads_back_the_same(platform in platforms()) {
        let text = write_platform(&platform, &notes(&platform));
        match parse_platform(&text, "astern.yaml") {
            Ok(read) => prop_assert_eq!(read, platform),
            Err(error) => prop_assert!(false, "{}\n{}", error, text),
        }
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in any::<String>()) {
        let _ = parse_platform(&text, "astern.yaml").map_err(|error| error.to_string());
    }

    #[test]
    fn no_damage_to_a_file_makes_the_reader_panic(
        at in any::<prop::sample::Index>(),
        cut in 0_usize..40,
        with in "[\\[\\]{}:,&*!|>'\"%@`#\\- \n\ta-z0-9é]{0,8}",
    ) {
        let chars: Vec<char> = EXAMPLE.chars().collect();
        let at = at.index(chars.len());
        let head: String = chars[..at].iter().collect();
        let tail: String = chars[(at + cut).min(chars.len())..].iter().collect();
        let _ = parse_platform(&format!("{head}{with}{tail}"), "astern.yaml").map_err(|error| error.to_string());
    }
}
