//! The whole report of two runs, as a person reads it: one that ended well, one that holds.

use crate::sample;
use astern_report::*;

#[test]
fn a_restored_run_is_told_with_its_evidence_durations_checks_and_what_is_left_to_do() {
    insta::assert_snapshot!(text(&sample::told(&sample::restored())), @r#"
    vcci-scope3: v1.2.4 taken back to v1.2.3
    ✓ restored and validated  j24

      run          r20261123-141503-7f3c
      namespace    vcci-scope3 in context prod-eu-1
      cluster      8c1f6e0a-52d4-4a35-9a1e-0d6c1d7f2b90 (uid of namespace kube-system)
      why          api-gateway answers 8 % errors since v1.2.4  j1
      approved by  on-call at 2026-11-23 14:15:03 UTC, a person read the plan and said yes  j1
      carried out  on-call on bastion-1, process 4821  j2

    Where things stand
      KIND/NAME                       STANDS ON   AS FAR AS IS KNOWN       RECORD
      deployment/api-gateway          v1.2.3      ✓ serves, 3 of 3 ready   j20
      deployment/calculation-engine   v1.2.3      ✓ serves, 4 of 4 ready   j13
      deployment/data-ingestion       v1.2.3      ✓ serves, 2 of 2 ready   j12
      deployment/reporting-service    v1.2.3      ✓ serves, 2 of 2 ready   j21

    Impact
      from the suspect's arrival to restored  14m 41s  j0 j22
      from the first evidence to restored     2m 24s  j0 j22
      from approval to the first change       2.2s  j1 j4
      from approval to restored               1m 49s, within the budget of 15m (forecast 1m 45s)  j1 j22
      pods ready when the plan was made       api-gateway 1 of 3, calculation-engine 4 of 4, data-ingestion 2 of 2 and reporting-service 1 of 2 (at 2026-11-23 14:14:31 UTC)  j0
      error lines of the suspect, at most     14.2 a minute and pod (deployment/calculation-engine)  j0
      lost for good                           nothing: no step ran that cannot be taken back  j0
      requests that failed                    ? unknown: nothing that this run read counts requests
      users affected                          ? unknown: nothing that this run read counts users

    What failed
      KIND/NAME                       VERSION   SINCE      READY   STATE        REASON
      deployment/api-gateway          v1.2.4    14:02:11   1/3     ✗ failing    CrashLoopBackOff, exit 1, 7 restarts
      deployment/calculation-engine   v1.2.4    14:03:05   4/4     ! degraded   14.2 error lines a minute and pod
      deployment/data-ingestion       v1.2.4    14:02:40   2/2     ✓ healthy
      deployment/reporting-service    v1.2.4    14:03:22   1/2     ✗ failing    not ready: HTTP probe failed with statuscode: 503

      14:02:11  v1.2.4 went out  j0
      14:14:28  first evidence against it  j0
      14:14:31  plan made  j0
      14:15:03  approved  j1
      14:15:05  evidence saved  j3
      14:15:05  first change  j4

    Decision: ↩ roll back  j0
      ↩ roll back: the new version crashes again and again (row crash-loop)
        deployment/api-gateway: 2 pods: CrashLoopBackOff, exit 1, 7 restarts
      ↩ roll back: pods of the new version do not become ready (row not-ready)
        deployment/reporting-service: 1 pod: not ready: HTTP probe failed with statuscode: 503
      ↩ roll back: the new version logs far more errors (row error-lines)
        deployment/calculation-engine: 14.2 error lines a minute and pod; allowed are 10

    What was done
      WAVE   STEP                                                            RESULT   START      TOOK   FORECAST   TRIES   RECORDS
      1      put deployment/calculation-engine back to v1.2.3 (revision 6)   ✓ done   14:15:05   0.3s   0.3s       1       j4 j5
      1      put deployment/data-ingestion back to v1.2.3 (revision 6)       ✓ done   14:15:05   1.6s   0.3s       2       j6 j10
      2      wait until deployment/calculation-engine serves v1.2.3          ✓ done   14:15:05   54s    48s        1       j8 j13
      2      wait until deployment/data-ingestion serves v1.2.3              ✓ done   14:15:06   31s    35s        1       j11 j12
      3      put deployment/api-gateway back to v1.2.3 (revision 6)          ✓ done   14:16:00   0.3s   0.3s       1       j14 j15
      3      put deployment/reporting-service back to v1.2.3 (revision 6)    ✓ done   14:16:00   0.4s   0.3s       1       j16 j17
      4      wait until deployment/api-gateway serves v1.2.3                 ✓ done   14:16:00   36s    40s        1       j18 j20
      4      wait until deployment/reporting-service serves v1.2.3           ✓ done   14:16:00   51s    55s        1       j19 j21
      ! could not write the template of deployment/data-ingestion: the server is currently unable to handle the request (429)  j7

    Is it over?
      ✓ passed: 8 of 8 checks  j23
      Held for 5m 1s, judged from 2026-11-23 14:16:52 UTC to 2026-11-23 14:21:53 UTC.

      RESULT   KIND/NAME                       CHECK          EVIDENCE
      ✓ pass   deployment/api-gateway          pods serving   3 of 3 ready, all of v1.2.3
      ✓ pass   deployment/api-gateway          restarts       0 since 14:15:05
      ✓ pass   deployment/api-gateway          error lines    0.2 a minute and pod; allowed are 10
      ✓ pass   deployment/api-gateway          probe health   200, /version is "v1.2.3"
      ✓ pass   deployment/calculation-engine   pods serving   4 of 4 ready, all of v1.2.3
      ✓ pass   deployment/calculation-engine   error lines    0.4 a minute and pod; allowed are 10
      ✓ pass   deployment/data-ingestion       pods serving   2 of 2 ready, all of v1.2.3
      ✓ pass   deployment/reporting-service    pods serving   2 of 2 ready, all of v1.2.3

    What changed
      deployment/api-gateway: v1.2.4 → v1.2.3
        containers[api-gateway].image
        - vcci-scope3/api-gateway:v1.2.4
        + vcci-scope3/api-gateway:v1.2.3
        containers[api-gateway].env[SESSION_BACKEND]
        - ‹masked›
        containers[api-gateway].env[POOL_SIZE]
        - ‹masked›
        + ‹masked›
        containers[api-gateway].resources.limits.memory
        - 256Mi
        + 512Mi
      deployment/calculation-engine: v1.2.4 → v1.2.3
        containers[calculation-engine].image
        - vcci-scope3/calculation-engine:v1.2.4
        + vcci-scope3/calculation-engine:v1.2.3
      deployment/data-ingestion: v1.2.4 → v1.2.3
        containers[data-ingestion].image
        - vcci-scope3/data-ingestion:v1.2.4
        + vcci-scope3/data-ingestion:v1.2.3
      deployment/reporting-service: v1.2.4 → v1.2.3
        containers[reporting-service].image
        - vcci-scope3/reporting-service:v1.2.4
        + vcci-scope3/reporting-service:v1.2.3

    What was not changed  j0
      · ConfigMap app-config and Secret api-keys stay as they are; both versions read the same keys of them
      · replicas, the HorizontalPodAutoscaler of deployment/api-gateway and everything outside the templates
      · StatefulSet queue and DaemonSet node-agent, which v1.2.4 did not touch

    Evidence saved before the first change
      ✓ log pod/api-gateway-6f7c9d5b8-x2vqk container api-gateway (previous) (18.4 KiB)  j3
      ✓ events of deployment/api-gateway (5.9 KiB)  j3
      ✓ log pod/calculation-engine-7d4f8c6b9-hh2lm container calculation-engine (256.0 KiB)  j3
      ✓ status of the pods of namespace vcci-scope3 (40.4 KiB)  j3
      ! missed: log pod/reporting-service-5c8b7f9d4-9mzrt container reporting-service: not had within 5s  j3
      the whole of each: astern report r20261123-141503-7f3c --evidence FOLDER

    Accepted knowingly
      ! overridden: the version of deployment/reporting-service was named with --to; nothing was observed about it  j1
      ! warning of the plan: Helm release vcci-scope3-platform owns deployment/reporting-service and writes v1.2.4 again at its next upgrade  j0
      ! warning of the gate: AST0207  j1
      ! warning of the gate: AST0214  j1

    To do
      [ ] Change what deploys deployment/api-gateway, deployment/calculation-engine, deployment/data-ingestion and deployment/reporting-service (pipeline, chart or Git) before it runs again: only the cluster was changed, and an unchanged source brings v1.2.4 back.  j20
      [ ] Confirm that v1.2.3 of deployment/calculation-engine is good (presumed: it was the newest for 9d 5h until 2026-11-23 14:03:05 UTC, and nothing speaks against it).  j0
      [ ] Confirm that v1.2.3 of deployment/data-ingestion is good (presumed: it was the newest for 9d 5h until 2026-11-23 14:02:40 UTC, and nothing speaks against it).  j0
      [ ] Confirm that v1.2.3 of deployment/reporting-service is good (named by --to reporting-service=image:v1.2.3).  j0
      [ ] Find out why v1.2.4 of deployment/api-gateway came to this: CrashLoopBackOff, exit 1, 7 restarts (2 pieces about it saved).  j3
      [ ] Find out why v1.2.4 of deployment/reporting-service came to this: not ready: HTTP probe failed with statuscode: 503 (nothing about it was saved).  j0
      [ ] Tag the commit that v1.2.4 was built from as failed: the one behind vcci-scope3/api-gateway:v1.2.4, vcci-scope3/calculation-engine:v1.2.4, vcci-scope3/data-ingestion:v1.2.4 and vcci-scope3/reporting-service:v1.2.4, not today's HEAD.  j0
      [ ] Settle what the plan warned of: Helm release vcci-scope3-platform owns deployment/reporting-service and writes v1.2.4 again at its next upgrade  j0
      [ ] Settle what the gate warned of: AST0207 and AST0214.  j1
      [ ] Look elsewhere for evidence that was not had in time: log pod/reporting-service-5c8b7f9d4-9mzrt container reporting-service: not had within 5s.  j3

    Journal: Secrets in namespace vcci-scope3. jN is its record N, j0 the plan sha256:b71a1d0b5c43e6bc31c13e46a723299fef8e3d7ede5a5a9facc3e19f49c2d6ea.
    "#);
}

#[test]
fn a_held_run_says_what_stands_where_and_claims_nothing_more() {
    insta::assert_snapshot!(markdown(&sample::told(&sample::held())), @r#"
    # vcci-scope3: v1.2.4 partly taken back, and held

    **! held: a person is needed**: deployment/api-gateway cannot start v1.2.3 (j20)

    - run `r20261123-141503-7f3c`, plan `sha256:b71a1d0b5c43e6bc31c13e46a723299fef8e3d7ede5a5a9facc3e19f49c2d6ea`
    - platform `vcci-scope3`, namespace `vcci-scope3`, context `prod-eu-1`, cluster 8c1f6e0a-52d4-4a35-9a1e-0d6c1d7f2b90 (uid of namespace kube-system)
    - why: api-gateway answers 8 % errors since v1.2.4 (j1)
    - approved by `on-call` at 2026-11-23 14:15:03 UTC (a person read the plan and said yes) (j1)
    - carried out by `on-call` on `bastion-1`, process 4821, from 2026-11-23 14:15:03 UTC on (j2)

    ## Where things stand

    | Workload | Stands on | As far as is known | Running image | Record |
    |---|---|---|---|---|
    | `deployment/api-gateway` | v1.2.3 | ✗ does not serve: its pods cannot start: ImagePullBackOff vcci-scope3/api-gateway:v1.2.3 | not observed | j19 |
    | `deployment/calculation-engine` | v1.2.3 | ✓ serves, 4 of 4 ready | `vcci-scope3/calculation-engine:v1.2.3@sha256:09f0ad6fba6eeee8a43ebe24148f014cfc88093743783fd8d5ad799cd5adcc4f` | j13 |
    | `deployment/data-ingestion` | v1.2.3 | ✓ serves, 2 of 2 ready | `vcci-scope3/data-ingestion:v1.2.3@sha256:df57f03c09c104008d7c68ed5bf89f23f6ce63442788495612ee49d721918ad7` | j12 |
    | `deployment/reporting-service` | v1.2.4 or v1.2.3 | ? the write's outcome is not known | not observed | j18 |

    ## Impact

    | What | Value | Records |
    |---|---|---|
    | from the suspect's arrival to restored | ? unknown: the journal does not say that service was restored |  |
    | from the first evidence to restored | ? unknown: the journal does not say that service was restored |  |
    | from approval to the first change | 2.2s | j1 j4 |
    | from approval to restored | ? unknown: the journal does not say that service was restored |  |
    | pods ready when the plan was made | api-gateway 1 of 3, calculation-engine 4 of 4, data-ingestion 2 of 2 and reporting-service 1 of 2 (at 2026-11-23 14:14:31 UTC) | j0 |
    | error lines of the suspect, at most | 14.2 a minute and pod (deployment/calculation-engine) | j0 |
    | lost for good | nothing: no step ran that cannot be taken back | j0 |
    | requests that failed | ? unknown: nothing that this run read counts requests |  |
    | users affected | ? unknown: nothing that this run read counts users |  |

    ## What failed

    | Workload | Version | Newest since | Ready | State | Reason |
    |---|---|---|---|---|---|
    | `deployment/api-gateway` | `v1.2.4` | 2026-11-23 14:02:11 UTC | 1 of 3, 1 of them of an earlier version | ✗ failing | CrashLoopBackOff, exit 1, 7 restarts |
    | `deployment/calculation-engine` | `v1.2.4` | 2026-11-23 14:03:05 UTC | 4 of 4 | ! degraded | 14.2 error lines a minute and pod |
    | `deployment/data-ingestion` | `v1.2.4` | 2026-11-23 14:02:40 UTC | 2 of 2 | ✓ healthy |  |
    | `deployment/reporting-service` | `v1.2.4` | 2026-11-23 14:03:22 UTC | 1 of 2 | ✗ failing | not ready: HTTP probe failed with statuscode: 503 |

    - 2026-11-23 14:02:11 UTC: v1.2.4 went out (j0)
    - 2026-11-23 14:14:28 UTC: first evidence against it (j0)
    - 2026-11-23 14:14:31 UTC: plan made (j0)
    - 2026-11-23 14:15:03 UTC: approved (j1)
    - 2026-11-23 14:15:05 UTC: evidence saved (j3)
    - 2026-11-23 14:15:05 UTC: first change (j4)

    ## Decision

    **↩ roll back** (j0)

    - ↩ roll back: the new version crashes again and again (row `crash-loop`)
      - `deployment/api-gateway`: 2 pods: CrashLoopBackOff, exit 1, 7 restarts
    - ↩ roll back: pods of the new version do not become ready (row `not-ready`)
      - `deployment/reporting-service`: 1 pod: not ready: HTTP probe failed with statuscode: 503
    - ↩ roll back: the new version logs far more errors (row `error-lines`)
      - `deployment/calculation-engine`: 14.2 error lines a minute and pod; allowed are 10

    What it rests on:

    | About | Side | Source | Observed | At |
    |---|---|---|---|---|
    | `deployment/api-gateway` | the suspect | pod status | 2 pods: CrashLoopBackOff, exit 1, 7 restarts (pod/api-gateway-6f7c9d5b8-x2vqk); last line: FATAL session backend "redis-cluster" is not configured | 2026-11-23 14:14:28 UTC |
    | `deployment/api-gateway` | the version before | pod status | 1 ready, 1 there, 3 asked for | 2026-11-23 14:14:28 UTC |
    | `deployment/api-gateway` | the suspect | logs, over 5m | 6.4 error lines a minute and pod (64 lines in 2 pods) | 2026-11-23 14:14:28 UTC |
    | `deployment/calculation-engine` | the suspect | rollout status | 4 ready, 4 there, 4 asked for | 2026-11-23 14:14:28 UTC |
    | `deployment/calculation-engine` | the suspect | logs, over 5m | 14.2 error lines a minute and pod (284 lines in 4 pods) | 2026-11-23 14:14:28 UTC |
    | `deployment/reporting-service` | the suspect | pod status | 1 pod: not ready: HTTP probe failed with statuscode: 503 (pod/reporting-service-5c8b7f9d4-9mzrt) | 2026-11-23 14:14:28 UTC |
    | `deployment/reporting-service` | the suspect | logs, over 5m | error lines are not known: the logs were not had within 2s | 2026-11-23 14:14:28 UTC |

    ## What was done

    Times in UTC, from 2026-11-23 14:15:03 UTC.

    | Wave | Step | Result | Start | Took | Forecast | Tries | Key | Records |
    |---|---|---|---|---|---|---|---|---|
    | 1 | put deployment/calculation-engine back to v1.2.3 (revision 6) | ✓ done | 14:15:05 | 0.3s | 0.3s (one request) | 1 | `r20261123-141503-7f3c.f808e5be9c43b498` | j4 j5 |
    | 1 | put deployment/data-ingestion back to v1.2.3 (revision 6) | ✓ done | 14:15:05 | 1.6s | 0.3s (one request) | 2 | `r20261123-141503-7f3c.9a786671fbe2e751` | j6 j10 |
    | 2 | wait until deployment/calculation-engine serves v1.2.3 | ✓ done | 14:15:05 | 54s | 48s (3 earlier runs) | 1 | `r20261123-141503-7f3c.046f704f3f3fe343` | j8 j13 |
    | 2 | wait until deployment/data-ingestion serves v1.2.3 | ✓ done | 14:15:06 | 31s | 35s (probes and counts) | 1 | `r20261123-141503-7f3c.bfa3613cc1e9f621` | j11 j12 |
    | 3 | put deployment/api-gateway back to v1.2.3 (revision 6) | ✓ done | 14:16:00 | 0.3s | 0.3s (one request) | 1 | `r20261123-141503-7f3c.6e8f0f95d1ba9e74` | j14 j15 |
    | 3 | put deployment/reporting-service back to v1.2.3 (revision 6) | ? not known | 14:16:00 |  | 0.3s (one request) | 1 | `r20261123-141503-7f3c.2c0ffcec761c3cbf` | j17 |
    | 4 | wait until deployment/api-gateway serves v1.2.3 | ✗ failed | 14:16:00 | 23s | 40s (3 earlier runs) | 1 | `r20261123-141503-7f3c.6b4dedf64341628a` | j16 j19 |
    | 4 | wait until deployment/reporting-service serves v1.2.3 | · not started |  |  | 55s (probes and counts) | 0 |  |  |

    - ! could not write the template of deployment/data-ingestion: the server is currently unable to handle the request (429). (j7)

    - ! not known whether this was done: write the template of deployment/reporting-service (the connection ended before the answer came). (j18)

    - ! could not wait for the rollout of deployment/api-gateway: its pods cannot start: ImagePullBackOff vcci-scope3/api-gateway:v1.2.3. push the image again, then resume the run (j19)

    ```text
    Failed to pull image: manifest unknown
    ```

    ## Is it over?

    **? not validated: the journal has no verdict, so nothing here counts as passed**

    - [ ] ? not validated: deployment/api-gateway, deployment/calculation-engine, deployment/data-ingestion and deployment/reporting-service serve with all pods asked for, without a restart
    - [ ] ? not validated: at most 10 error lines a minute and pod
    - [ ] ? not validated: deployment/api-gateway: probe health: service/api-gateway:8080/health answers 200, /version is "v1.2.3", content-type is application/json

    ## Back to what, and why

    ### `deployment/api-gateway`

    | CHOICE | VERSION | REVISION | KEPT BY | WHY |
    |---|---|---|---|---|
    | ✓ good | `v1.2.3` | 6 | `api-gateway-54abc9934` | observed: 1 pod of it serves now, ready since 2026-11-14 09:02:40 UTC |
    | · passed over | `v1.2.4` | 7 | `api-gateway-b1fb2ba38` | it is the suspect |
    | · passed over | `v1.2.3-rc1` | 5 | `api-gateway-a9c824edb` | it was the newest for 11m only, less than the 30m that policy asks for |
    | · passed over | `v1.2.2` | 4 | `api-gateway-baa94da52` | r20261109-221144-0b1d rolled it back |

    ### `deployment/calculation-engine`

    | CHOICE | VERSION | REVISION | KEPT BY | WHY |
    |---|---|---|---|---|
    | ? presumed good | `v1.2.3` | 6 | `calculation-engine-b0973dec6` | presumed: it was the newest for 9d 5h until 2026-11-23 14:03:05 UTC, and nothing speaks against it |
    | · passed over | `v1.2.4` | 7 | `calculation-engine-e9930ceab` | it is the suspect |
    | · passed over | `v1.2.3-rc1` | 5 | `calculation-engine-e593c8657` | it was the newest for 11m only, less than the 30m that policy asks for |
    | · passed over | `v1.2.2` | 4 | `calculation-engine-b2c00b780` | r20261109-221144-0b1d rolled it back |

    ### `deployment/data-ingestion`

    | CHOICE | VERSION | REVISION | KEPT BY | WHY |
    |---|---|---|---|---|
    | ? presumed good | `v1.2.3` | 6 | `data-ingestion-9a44a276e` | presumed: it was the newest for 9d 5h until 2026-11-23 14:02:40 UTC, and nothing speaks against it |
    | · passed over | `v1.2.4` | 7 | `data-ingestion-54ce4f5e6` | it is the suspect |
    | · passed over | `v1.2.3-rc1` | 5 | `data-ingestion-ccfc4e7d4` | it was the newest for 11m only, less than the 30m that policy asks for |
    | · passed over | `v1.2.2` | 4 | `data-ingestion-74fa29cd3` | r20261109-221144-0b1d rolled it back |

    ### `deployment/reporting-service`

    | CHOICE | VERSION | REVISION | KEPT BY | WHY |
    |---|---|---|---|---|
    | ? named | `v1.2.3` | 6 | `reporting-service-b1479374b` | named by --to reporting-service=image:v1.2.3 |
    | · passed over | `v1.2.4` | 7 | `reporting-service-a3d2b9ad1` | it is the suspect |
    | · passed over | `v1.2.3-rc1` | 5 | `reporting-service-74707e0e1` | it was the newest for 11m only, less than the 30m that policy asks for |
    | · passed over | `v1.2.2` | 4 | `reporting-service-d8f7c72ea` | r20261109-221144-0b1d rolled it back |

    ## What changed

    ### `deployment/api-gateway`: v1.2.4 → v1.2.3

    | Where | Before | After |
    |---|---|---|
    | `containers[api-gateway].image` | `vcci-scope3/api-gateway:v1.2.4` | `vcci-scope3/api-gateway:v1.2.3` |
    | `containers[api-gateway].env[SESSION_BACKEND]` | ‹masked› | (none) |
    | `containers[api-gateway].env[POOL_SIZE]` | ‹masked› | ‹masked› |
    | `containers[api-gateway].resources.limits.memory` | `256Mi` | `512Mi` |

    ### `deployment/calculation-engine`: v1.2.4 → v1.2.3

    | Where | Before | After |
    |---|---|---|
    | `containers[calculation-engine].image` | `vcci-scope3/calculation-engine:v1.2.4` | `vcci-scope3/calculation-engine:v1.2.3` |

    ### `deployment/data-ingestion`: v1.2.4 → v1.2.3

    | Where | Before | After |
    |---|---|---|
    | `containers[data-ingestion].image` | `vcci-scope3/data-ingestion:v1.2.4` | `vcci-scope3/data-ingestion:v1.2.3` |

    ### `deployment/reporting-service`: v1.2.4 → v1.2.3

    | Where | Before | After |
    |---|---|---|
    | `containers[reporting-service].image` | `vcci-scope3/reporting-service:v1.2.4` | `vcci-scope3/reporting-service:v1.2.3` |

    ## Evidence saved before the first change

    **log pod/api-gateway-6f7c9d5b8-x2vqk container api-gateway (previous)** (18.4 KiB) (j3)

    ```text
    2026-11-23T14:13:58Z INFO  api-gateway v1.2.4 starting
    2026-11-23T14:13:58Z INFO  config: POOL_SIZE=32 API_KEY=‹masked›
    2026-11-23T14:13:59Z ERROR session backend refused: unknown scheme "redis-cluster"
    2026-11-23T14:13:59Z FATAL session backend "redis-cluster" is not configured
    ```

    **events of deployment/api-gateway** (5.9 KiB) (j3)

    ```text
    Warning BackOff back-off restarting failed container
    ```

    **log pod/calculation-engine-7d4f8c6b9-hh2lm container calculation-engine** (256.0 KiB) (j3)

    ```text
    2026-11-23T14:14:21Z ERROR factor table v9 is missing, falling back
    2026-11-23T14:14:25Z ERROR factor table v9 is missing, falling back
    ```

    **status of the pods of namespace vcci-scope3** (40.4 KiB) (j3)

    The whole of each: `astern report r20261123-141503-7f3c --evidence FOLDER`

    - ! missed: log pod/reporting-service-5c8b7f9d4-9mzrt container reporting-service: not had within 5s (j3)

    ## What was not changed

    - ConfigMap app-config and Secret api-keys stay as they are; both versions read the same keys of them
    - replicas, the HorizontalPodAutoscaler of deployment/api-gateway and everything outside the templates
    - StatefulSet queue and DaemonSet node-agent, which v1.2.4 did not touch

    ## Accepted knowingly

    - ! overridden: the version of deployment/reporting-service was named with --to; nothing was observed about it (j1)
    - ! warning of the plan: Helm release vcci-scope3-platform owns deployment/reporting-service and writes v1.2.4 again at its next upgrade (j0)
    - ! warning of the gate: AST0207 (j1)
    - ! warning of the gate: AST0214 (j1)

    ## To do

    - [ ] Decide: astern resume r20261123-141503-7f3c goes on, astern abort r20261123-141503-7f3c takes back what was done. (j20)
    - [ ] Bring deployment/api-gateway up: it was put back to v1.2.3 and does not serve (its pods cannot start: ImagePullBackOff vcci-scope3/api-gateway:v1.2.3). (j19)
    - [ ] Find out whether deployment/reporting-service stands on v1.2.4 or v1.2.3: the write's outcome is not known. (j18)
    - [ ] Validate: no verdict is in the journal, so nothing says that it is over (astern validate). (j20)
    - [ ] Change what deploys deployment/api-gateway, deployment/calculation-engine and deployment/data-ingestion (pipeline, chart or Git) before it runs again: only the cluster was changed, and an unchanged source brings v1.2.4 back. (j19)
    - [ ] Confirm that v1.2.3 of deployment/calculation-engine is good (presumed: it was the newest for 9d 5h until 2026-11-23 14:03:05 UTC, and nothing speaks against it). (j0)
    - [ ] Confirm that v1.2.3 of deployment/data-ingestion is good (presumed: it was the newest for 9d 5h until 2026-11-23 14:02:40 UTC, and nothing speaks against it). (j0)
    - [ ] Find out why v1.2.4 of deployment/api-gateway came to this: CrashLoopBackOff, exit 1, 7 restarts (2 pieces about it saved). (j3)
    - [ ] Find out why v1.2.4 of deployment/reporting-service came to this: not ready: HTTP probe failed with statuscode: 503 (nothing about it was saved). (j0)
    - [ ] Tag the commit that v1.2.4 was built from as failed: the one behind vcci-scope3/api-gateway:v1.2.4, vcci-scope3/calculation-engine:v1.2.4 and vcci-scope3/data-ingestion:v1.2.4, not today's HEAD. (j0)
    - [ ] Settle what the plan warned of: Helm release vcci-scope3-platform owns deployment/reporting-service and writes v1.2.4 again at its next upgrade (j0)
    - [ ] Settle what the gate warned of: AST0207 and AST0214. (j1)
    - [ ] Look elsewhere for evidence that was not had in time: log pod/reporting-service-5c8b7f9d4-9mzrt container reporting-service: not had within 5s. (j3)

    ## Journal

    Secrets in namespace vcci-scope3, record 0 is the plan.

    | Record | At | Epoch | What it says |
    |---|---|---|---|
    | j0 | 2026-11-23 14:14:31 UTC |  | plan sha256:b71a1d0b5c43e6bc31c13e46a723299fef8e3d7ede5a5a9facc3e19f49c2d6ea made for vcci-scope3 |
    | j1 | 2026-11-23 14:15:03 UTC |  | approved by on-call (a person read the plan and said yes): api-gateway answers 8 % errors since v1.2.4 |
    | j2 | 2026-11-23 14:15:03 UTC | 2 | taken by on-call on bastion-1 (process 4821) |
    | j3 | 2026-11-23 14:15:05 UTC | 2 | evidence: 4 saved, 1 missed |
    | j4 | 2026-11-23 14:15:05 UTC | 2 | about to put deployment/calculation-engine back to v1.2.3 (revision 6) (attempt 1, key r20261123-141503-7f3c.f808e5be9c43b498) |
    | j5 | 2026-11-23 14:15:05 UTC | 2 | done: put deployment/calculation-engine back to v1.2.3 (revision 6) |
    | j6 | 2026-11-23 14:15:05 UTC | 2 | about to put deployment/data-ingestion back to v1.2.3 (revision 6) (attempt 1, key r20261123-141503-7f3c.9a786671fbe2e751) |
    | j7 | 2026-11-23 14:15:05 UTC | 2 | failed: put deployment/data-ingestion back to v1.2.3 (revision 6): the server is currently unable to handle the request (429) |
    | j8 | 2026-11-23 14:15:05 UTC | 2 | about to wait until deployment/calculation-engine serves v1.2.3 (attempt 1, key r20261123-141503-7f3c.046f704f3f3fe343) |
    | j9 | 2026-11-23 14:15:06 UTC | 2 | about to put deployment/data-ingestion back to v1.2.3 (revision 6) (attempt 2, key r20261123-141503-7f3c.9a786671fbe2e751) |
    | j10 | 2026-11-23 14:15:06 UTC | 2 | done: put deployment/data-ingestion back to v1.2.3 (revision 6) |
    | j11 | 2026-11-23 14:15:06 UTC | 2 | about to wait until deployment/data-ingestion serves v1.2.3 (attempt 1, key r20261123-141503-7f3c.bfa3613cc1e9f621) |
    | j12 | 2026-11-23 14:15:38 UTC | 2 | done: wait until deployment/data-ingestion serves v1.2.3 (2 of 2 ready) |
    | j13 | 2026-11-23 14:16:00 UTC | 2 | done: wait until deployment/calculation-engine serves v1.2.3 (4 of 4 ready) |
    | j14 | 2026-11-23 14:16:00 UTC | 2 | about to put deployment/api-gateway back to v1.2.3 (revision 6) (attempt 1, key r20261123-141503-7f3c.6e8f0f95d1ba9e74) |
    | j15 | 2026-11-23 14:16:00 UTC | 2 | done: put deployment/api-gateway back to v1.2.3 (revision 6) |
    | j16 | 2026-11-23 14:16:00 UTC | 2 | about to wait until deployment/api-gateway serves v1.2.3 (attempt 1, key r20261123-141503-7f3c.6b4dedf64341628a) |
    | j17 | 2026-11-23 14:16:00 UTC | 2 | about to put deployment/reporting-service back to v1.2.3 (revision 6) (attempt 1, key r20261123-141503-7f3c.2c0ffcec761c3cbf) |
    | j18 | 2026-11-23 14:16:10 UTC | 2 | outcome not known: put deployment/reporting-service back to v1.2.3 (revision 6): the connection ended before the answer came |
    | j19 | 2026-11-23 14:16:24 UTC | 2 | failed: wait until deployment/api-gateway serves v1.2.3: its pods cannot start: ImagePullBackOff vcci-scope3/api-gateway:v1.2.3 |
    | j20 | 2026-11-23 14:16:24 UTC | 2 | held: deployment/api-gateway cannot start v1.2.3 |
    "#);
}
