"""The fixed subset that runs with every change: some of each kind, and every plan that once found something."""

from __future__ import annotations

FIXED = (
    # A crash at the writes that allocate, remember and route.
    "create~F1~create controllerrevisions/fraud-r1#1",
    "create~F1~create configmaps/fraud-router#1",
    "create~F1~create deployments/fraud-r1#1",
    "create~F2~create services/fraud#1",
    "create~F1~patch configmaps/fraud-router#2",
    "create~F1-after~patch modeldeployments/fraud/status#1",
    "canary-pass~F1~create controllerrevisions/fraud-r2#1",
    "canary-pass~F1~patch configmaps/fraud-router#1",
    "canary-pass~F1~patch configmaps/fraud-router#3",
    "canary-pass~F2~patch configmaps/fraud-router#5",
    "canary-pass~F1-after~create deployments/fraud-r2#1",
    "canary-pass~F1~delete deployments/fraud-r1#1",
    "canary-pass~F2~delete services/fraud-r1#1",
    "canary-fail~F1~patch configmaps/fraud-router#1",
    "canary-fail~F1~delete deployments/fraud-r2#1",
    "edit-mid-canary~F1~create controllerrevisions/fraud-r3#1",
    "promote~F1~patch modeldeployments/fraud#1",
    "abort~F1~patch configmaps/fraud-router#4",
    "recreate~F1~create controllerrevisions/fraud-r1#1",
    "scale~F1~patch deployments/fraud-r1#1",
    "restore~F1~create configmaps/fraud-router#1",
    # Refusals, one code after another, and a code that lasts.
    "create~F3~create deployments/fraud-r1#1~codes=409+429+500+503+504",
    "create~F3~create services/fraud#1~codes=401+403+422",
    "create~F3~patch modeldeployments/fraud/status#1~codes=503,times=3",
    "canary-pass~F3~patch configmaps/fraud-router#3~codes=409,times=3",
    "canary-pass~F3~delete deployments/fraud-r1#1~codes=500,seconds=10",
    "canary-fail~F3~delete services/fraud-r2#1~codes=409+429+500+503+504",
    # The write is done, its answer is lost.
    "create~F4~create controllerrevisions/fraud-r1#1~way=reset",
    "create~F4~create configmaps/fraud-router#1~way=504",
    "canary-pass~F4~create deployments/fraud-r2#1~way=500",
    "canary-pass~F4~patch configmaps/fraud-router#3~way=reset",
    "canary-pass~F4~delete deployments/fraud-r1#1~way=reset",
    # The past is read again, after a crash and without one.
    "canary-pass~F5~patch configmaps/fraud-router#3~by=crash,resource=all,seconds=4",
    "canary-pass~F5~create deployments/fraud-r2#1~by=crash,resource=configmaps,seconds=3",
    "canary-pass~F5~delete deployments/fraud-r1#1~by=relist,resource=deployments,seconds=3",
    "recreate~F5~create controllerrevisions/fraud-r1#1~by=crash,resource=all,seconds=4",
    # Each of these showed the operator a past in which its own last writes had not happened yet, and it did them anew:
    # a version was given back to stable and rolled out again, or frozen a second time under another number.
    "edit-mid-canary~F5~create events/StepCompleted#2~by=crash,resource=modeldeployments,seconds=8",
    "edit-mid-canary~F5~patch configmaps/fraud-router#13~by=relist,resource=modeldeployments,seconds=8",
    "canary-pass~F5~begin~by=relist,resource=controllerrevisions,seconds=2",
    # Events that come late, together, or not at all.
    "canary-pass~F6~create deployments/fraud-r2#1~resource=pods,seconds=5",
    "scale~F6~begin~resource=all,seconds=5",
    "canary-pass~F7~begin~resource=all,seconds=5",
    "canary-fail~F8~create deployments/fraud-r2#1~resource=all,seconds=3",
    # The deletion was lost: for a minute children were made anew while the garbage collector removed them.
    "delete~F8~begin~resource=modeldeployments,seconds=3",
    # Streams that die.
    "canary-pass~F9~create deployments/fraud-r2#1~resource=all,way=reset",
    "create~F9~create deployments/fraud-r1#1~resource=all,way=truncated",
    "create~F9~create deployments/fraud-r1#1~resource=pods,way=error-500",
    "create~F9~create deployments/fraud-r1#1~resource=all,times=3,way=rewatch-503",
    "canary-fail~F9~create deployments/fraud-r2#1~resource=all,times=1,way=rewatch-401",
    # The API server is away, the operator is away, the status is gone.
    "canary-pass~F10~begin~seconds=8,way=refuse",
    "create~F10~create deployments/fraud-r1#1~seconds=8,way=503",
    "delete~F10~begin~seconds=8,way=hang",
    # It was back, and the cache of pods was to be filled only half a minute later: status counted pods that had gone.
    "scale~F10~patch deployments/fraud-router#3~seconds=30,way=503",
    # A dozen events within a second, each with a pass that failed: the next try came minutes after the end.
    "scale~F3~patch modeldeployments/fraud/status#1~codes=504,seconds=20",
    "delete~down~begin~seconds=4",
    "recreate~down~begin~seconds=4",
    "strangers~down~begin~seconds=3",
    "canary-pass~wipe~patch configmaps/fraud-router#3~by=crash",
    # Nobody wrote the status again before the next look, a minute later.
    "create~wipe~patch modeldeployments/fraud/status#3~by=somebody",
    # Names and records.
    "collision~F1~patch modeldeployments/fraud/status#1",
    "record-lost~F1~create configmaps/fraud-router#1",
    # The revision on record was missing in a stale first list, and was frozen anew under another number.
    "collision~F5~patch configmaps/fraud-r2#2~by=crash,resource=controllerrevisions,seconds=4",
    # Everything was stale: the update was undone, and a Service that the lists did not show stayed for ever.
    "edit-mid-canary~F5~create deployments/fraud-r2#1~by=crash,resource=all,seconds=4",
    "edit-mid-canary~F5~patch deployments/fraud-r3#1~by=crash,resource=all,seconds=4",
    # Children of the old one were made anew before its end was heard.
    "recreate~F4~create events/Promoted#1~way=504",
)
