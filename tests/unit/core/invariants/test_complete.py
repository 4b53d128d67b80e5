"""The invariants of the study of rollouts, section 4.4, with the test that is named by each sentence.

The rule: a test of invariant N is called test_N_…, or it is listed here. So `test_16_` finds what there is about the sixteenth,
a renamed witness fails here by its name, and so does a sentence that loses its last one.
"""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[3]
HERE = "unit/core/invariants"

# Sentence, or the part of one that has a witness of its own → where its test is: FILE::NAME below tests/.
WITNESSES: dict[int, dict[str, str]] = {
    1: {
        "Ready stable replicas never below replicas": (
            f"{HERE}/test_capacity.py::test_1_ready_stable_replicas_are_never_below_replicas_through_any_event_order"
        ),
        "-1 in Replace": "unit/core/test_strategies.py::test_replace_moves_pods_and_shares_in_turns_and_never_has_more_pods_than_replicas",
    },
    2: {
        "A weight needs ready capacity before the write; also on abort, rollback, promoteFull": (
            f"{HERE}/test_capacity.py::test_2_a_weight_needs_ready_capacity_before_the_write_also_on_abort_and_rollback"
        ),
    },
    3: {
        "No weight to a revision without a ready endpoint": (
            f"{HERE}/test_capacity.py::test_3_no_weight_or_pin_to_a_revision_without_a_ready_endpoint_as_the_routers_see_it"
        ),
        "No header or mirror to one": (
            f"{HERE}/test_beside.py::test_3_no_header_route_or_mirror_leads_to_a_revision_without_pods_that_every_router_sees"
        ),
        "Not in our status": f"{HERE}/test_capacity.py::test_3_what_status_says_decides_nothing",
    },
    4: {
        "Nothing is deleted while any rule names it": (
            f"{HERE}/test_removal.py::test_4_nothing_is_deleted_or_scaled_down_while_any_route_names_it"
        ),
    },
    5: {
        "Scale-down follows observed weight, never desired weight": (
            f"{HERE}/test_removal.py::test_5_scale_down_follows_the_weight_that_routers_confirm_never_the_desired_one"
        ),
    },
    6: {
        "Delay clocks start at verified zero": f"{HERE}/test_removal.py::test_6_delay_clocks_start_when_every_router_confirms_zero",
        "In-flight requests finish": (
            f"{HERE}/test_removal.py::test_6_requests_in_flight_finish_or_have_had_the_whole_drain_timeout"
        ),
        # `python -m tests.rollouts story` asks for 10,000 requests; this one for as many as its time allows.
        "0 failed in promote, abort, undo, supersede": (
            "e2e/test_takeover.py::test_no_request_fails_through_promote_abort_supersede_revert_rollback_and_router_restart"
        ),
        "0 failed when the controller is killed": (
            "e2e/test_survive.py::test_an_operator_killed_in_the_middle_of_a_rollout_costs_no_request"
        ),
    },
    7: {
        "Last healthy revision is never removed or starved": (
            f"{HERE}/test_capacity.py::test_7_the_last_healthy_revision_is_never_removed_or_starved_whatever_the_phase"
        ),
    },
    8: {
        "Abort beats promote, pause, retry; stable at 100 % at once": (
            f"{HERE}/test_commands.py::test_8_abort_beats_every_other_command_and_gives_stable_everything_in_the_next_pass"
        ),
        "With Replace as fast": f"{HERE}/test_strategies.py::test_8_abort_gives_every_share_to_stable_in_the_very_pass",
    },
    9: {
        "Weights sum to 100, each in [0, 100]; explicit 0 written": (
            f"{HERE}/test_edits.py::test_9_weights_sum_to_100_each_between_0_and_100_and_0_is_written"
        ),
        "Header and mirror rules untouched by setWeight": (
            f"{HERE}/test_beside.py::test_9_a_weight_that_is_set_leaves_header_routes_and_mirrors_as_they_are"
        ),
        "Present iff folded steps say so": (
            f"{HERE}/test_beside.py::test_9_header_routes_and_mirrors_are_in_force_exactly_while_the_folded_steps_say_so"
        ),
    },
    10: {
        "Supersede at every stage, by one edit or all at once, converges": (
            f"{HERE}/test_edits.py::test_10_supersede_at_every_stage_by_one_edit_or_all_at_once_converges"
        ),
        "No stuck stage beyond progressDeadline": f"{HERE}/test_edits.py::test_10_no_stage_is_stuck_beyond_the_progress_deadline",
    },
    11: {
        "A broken stable does not block a new rollout": (
            f"{HERE}/test_broken_stable.py::test_11_a_broken_stable_does_not_block_a_new_rollout"
        ),
        "Golden replaces comparison": f"{HERE}/test_broken_stable.py::test_11_golden_holds_and_parity_does_not",
        "Readiness replaces comparison": (
            f"{HERE}/test_broken_stable.py::test_11_no_share_rises_before_the_pods_for_it_are_ready"
        ),
    },
    12: {
        "No data gives Inconclusive, never Successful": (
            "unit/core/test_comparison.py::test_no_data_gives_inconclusive_never_successful"
        ),
        "A dead Prometheus gives Inconclusive": (
            "unit/core/test_metric_gate.py::test_without_values_there_is_no_verdict_and_never_success"
        ),
        "Termination without measurement is not success": (
            "unit/core/test_gates.py::test_what_is_no_evidence_is_inconclusive_and_never_success"
        ),
    },
    13: {
        "False aborts <= alpha over 1000 simulated rollouts": (
            f"{HERE}/test_evidence.py::test_13_false_aborts_are_at_most_alpha_over_1000_simulated_rollouts"
        ),
        "0.5 % -> 5 % errors at 10 % weight within 200 canary requests (median)": (
            f"{HERE}/test_evidence.py::test_13_ten_times_the_errors_at_10_percent_are_found_within_200_canary_requests"
        ),
    },
    14: {
        "Killed after every API write: final state and step order identical": (
            f"{HERE}/test_commands.py::test_14_killed_after_every_single_write_the_order_of_steps_and_the_end_are_the_same"
        ),
        "No pause restarted": f"{HERE}/test_commands.py::test_14_a_pause_that_a_restart_interrupts_is_not_restarted",
        "log E preserved": "unit/core/test_comparison.py::test_after_a_restart_of_the_operator_log_e_is_preserved",
    },
    15: {
        "Duplicate command ids have no effect": f"{HERE}/test_commands.py::test_15_a_command_that_is_seen_again_has_no_effect",
        "A command for revision k never acts on k+1": (
            f"{HERE}/test_commands.py::test_15_a_command_for_one_revision_never_acts_on_another"
        ),
    },
    16: {
        "External edit of our route is undone": (
            f"{HERE}/test_edits.py::test_16_an_external_edit_of_our_route_is_undone_in_the_next_pass"
        ),
        "Within 5 s": "e2e/test_ways.py::test_an_edited_route_is_put_back_within_five_seconds_and_told_once",
        "Reported once": f"{HERE}/test_edits.py::test_16_an_external_edit_of_our_route_is_told_once",
        "Watch, not resync": (
            f"{HERE}/test_edits.py::test_16_the_watch_tells_of_an_edit_of_our_route_so_no_resync_is_waited_for"
        ),
        "Foreign routes are never modified": f"{HERE}/test_removal.py::test_16_objects_of_others_are_never_modified",
    },
    17: {
        "Measured share over >= 2000 requests within 3 points": (
            "integration/router/test_traffic.py::test_17_weights_hold_per_request_on_one_connection_for_http_and_grpc"
        ),
    },
    19: {
        "Rollback to stable skips steps": f"{HERE}/test_edits.py::test_19_going_back_to_stable_skips_all_steps",
        "Within window runs golden": (
            "unit/core/test_gates.py::test_within_the_rollback_window_golden_runs_and_the_other_steps_are_skipped"
        ),
        "Outside runs all": "unit/core/test_strategies.py::test_a_version_outside_of_the_window_takes_the_steps",
    },
    20: {
        "Step edits mid-rollout restart at step 0 with weight 0 first": (
            f"{HERE}/test_edits.py::test_20_step_edits_in_mid_rollout_restart_at_step_0_with_weight_0_first"
        ),
    },
    # "Can only raise": a lower number in mid-rollout is followed, as by a person (docs/support-matrix.md says what to do).
    21: {
        "What autoscaling adds during a rollout raises stable": (
            f"{HERE}/test_autoscaling.py::test_21_pods_that_an_autoscaler_adds_during_a_rollout_come_to_stable_and_the_rollout_goes_on"
        ),
        "Deadline unaffected": (
            f"{HERE}/test_autoscaling.py::test_21_pods_of_stable_that_are_not_ready_do_not_trip_the_deadline_of_the_one_on_trial"
        ),
    },
    22: {
        "Deleting the resource drains": (
            f"{HERE}/test_removal.py::test_22_every_pod_that_goes_with_the_resource_drains_before_it_stops"
        ),
        "Leaves no orphan": f"{HERE}/test_removal.py::test_22_deleting_the_resource_writes_nothing_and_leaves_no_orphan",
        "Leaves no orphan, on a cluster": "e2e/test_delete.py::test_deleting_removes_everything",
    },
    23: {
        "Paused: no pod, weight or route change": f"{HERE}/test_edits.py::test_23_paused_changes_no_pod_weight_or_route",
        "Except safety": f"{HERE}/test_edits.py::test_23_paused_still_takes_a_failing_revision_out_of_the_traffic",
        "Except drift": f"{HERE}/test_edits.py::test_23_paused_still_repairs_drift",
    },
    24: {
        "Unsupported feature -> InvalidSpec before any traffic change": (
            f"{HERE}/test_refusals.py::test_24_an_unsupported_feature_is_refused_before_any_traffic_change"
        ),
        "Mirror without clusters for it": (
            f"{HERE}/test_refusals.py::test_24_a_mirror_without_clusters_for_copies_is_refused_before_any_traffic_change"
        ),
    },
}

# Why there is nothing to test yet. Whoever builds it, and names a test by it, is sent here by the last test below.
NOT_BUILT = {
    18: "in-place: there is no placement InPlace",
}


@cache
def names_by_file() -> dict[str, frozenset[str]]:
    """The names of the test functions below tests/, without importing anything."""
    return {
        path.relative_to(TESTS).as_posix(): frozenset(
            node.name
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
        )
        for path in TESTS.rglob("test_*.py")
    }


def numbered() -> set[int]:
    """Invariants that some test is named by."""
    every = (name for names in names_by_file().values() for name in names)
    return {int(found[1]) for name in every if (found := re.match(r"test_(\d+)_", name))}


@pytest.mark.parametrize(
    ("number", "sentence", "place"),
    [(number, sentence, place) for number, found in WITNESSES.items() for sentence, place in found.items()],
)
def test_every_sentence_has_a_test_that_is_named_by_it(number: int, sentence: str, place: str) -> None:
    file, _, name = place.partition("::")
    assert name in names_by_file().get(file, ()), f"{number}, {sentence!r}: there is no {place} (renamed, or gone?)"


def test_all_24_are_listed_once() -> None:
    assert sorted([*WITNESSES, *NOT_BUILT]) == list(range(1, 25))
    assert all(WITNESSES.values())


def test_a_test_that_is_named_by_an_invariant_speaks_of_one_that_is_built() -> None:
    unknown = numbered() - set(range(1, 25))
    assert unknown == set(), "a test is named by a number that no invariant has"
    built = numbered() & set(NOT_BUILT)
    assert built == set(), "tests name what NOT_BUILT says does not exist: give their sentences a line in WITNESSES"
