//! One suite for both engines: every test runs on SQLite and on PostgreSQL, by the same function.
//!
//! When a test ends, the books of its world must balance.
#![expect(clippy::unwrap_used, reason = "a test stops where it fails")]

mod allowances;
mod atomicity;
mod audit;
mod changes;
mod exactness;
mod health;
mod holds;
mod idempotency;
mod integrations;
mod keys;
mod ledger;
mod locks;
mod masterkeys;
mod migrations;
mod nodes;
mod permits;
mod prices;
mod rows;
mod tenants;
mod usage;
mod verify;
mod wall;
mod windows;
mod world;

/// Makes a test of each engine from each function.
macro_rules! conformance {
    ($($noun:ident: $($test:ident)+;)+) => {
        mod sqlite {
            $(mod $noun {
                $(#[test]
                fn $test() {
                    crate::world::run(crate::world::Kind::Sqlite, crate::$noun::$test);
                })+
            })+
        }

        mod postgres {
            $(mod $noun {
                $(#[test]
                fn $test() {
                    crate::world::run(crate::world::Kind::Postgres, crate::$noun::$test);
                })+
            })+
        }
    };
}

conformance! {
    tenants:
        a_tenant_is_kept_changed_and_found_again
        a_balance_is_its_tenants_alone
        a_tenants_id_is_never_given_twice
        tenants_are_listed_newest_first_in_pages
        deleting_a_tenant_takes_its_keys_and_integrations_and_leaves_its_ledger
        a_deleted_tenants_credentials_are_in_no_row_and_in_no_file
        each_change_is_written_in_the_audit_trail_with_a_number_of_its_own;
    keys:
        a_key_is_found_by_its_tenant_alone
        a_key_is_revoked_once_and_for_all
        two_keys_cannot_have_one_digest
        a_key_needs_a_living_tenant_and_is_bound_to_its_own_integrations
        a_keys_last_use_only_moves_forward
        a_rotated_key_works_on_for_the_overlap_and_points_to_the_new_one
        what_cannot_be_replaced_is_not_rotated
        keys_are_filtered_by_role_and_by_status_at_a_time
        operator_keys_belong_to_no_tenant;
    prices:
        a_price_is_set_changed_and_removed_and_each_time_announced
        a_deleted_tenant_has_no_prices_and_gets_none
        calls_without_a_price_are_summed_by_model_and_counted_once;
    integrations:
        an_integration_comes_back_as_it_was_given
        an_integration_needs_a_living_tenant
        a_living_name_is_unique_and_free_again_after_deletion
        a_change_of_an_integration_that_changed_meanwhile_is_refused
        another_tenants_integration_is_not_found
        a_replaced_credential_leaves_no_secret_behind
        integrations_are_filtered_and_paged;
    health:
        health_comes_back_as_it_was_kept
        figures_alone_move_neither_the_integrations_time_nor_other_nodes
        health_that_was_read_before_a_change_is_not_kept
        a_status_that_changes_with_health_is_audited_and_announced
        a_change_of_an_integration_keeps_what_was_heard_of_it_since
        one_node_of_many_gets_the_turn_to_probe
        an_integration_that_is_taken_up_is_probed_at_once
        health_is_counted_within_the_tenant;
    idempotency:
        a_request_is_begun_once_and_its_answer_is_found_again
        of_many_that_begin_the_same_request_at_once_one_does_it
        an_old_request_is_forgotten;
    changes:
        the_directory_holds_what_lives
        a_change_is_announced_with_its_kind_and_owner
        a_poller_misses_no_change_of_many_at_once
        a_loaded_thing_is_gone_when_it_is_deleted;
    rows:
        a_row_bears_what_its_call_alone_of_its_batch_has;
    ledger:
        a_call_is_one_row_that_bears_all_it_was_charged_by
        a_call_is_in_its_balance_and_roll_up
        a_call_that_comes_twice_is_booked_once
        the_same_call_with_other_content_is_a_conflict_and_the_first_stands
        a_call_that_an_earlier_version_booked_is_known_by_the_hash_that_it_kept
        a_refused_call_is_a_row_that_changes_no_balance
        a_row_can_neither_be_changed_nor_deleted
        cents_add_up_to_the_exact_total
        a_call_that_would_overflow_the_books_is_refused_alone
        a_zero_character_is_kept_as_a_mark
        the_first_and_the_last_moment_of_a_month_belong_to_it
        a_batch_of_reports_tells_the_fate_of_each
        a_report_and_a_call_of_the_gateway_are_never_both_booked_under_one_id
        the_status_sums_the_ledger;
    allowances:
        a_draw_gives_what_is_needed_or_a_share_and_never_more_than_is_left
        an_unlimited_quantity_needs_no_draw
        what_is_given_back_can_be_drawn_by_another_node
        what_a_node_settles_leaves_its_allowance
        nodes_that_draw_at_once_never_pass_the_limit
        another_tenants_integration_cannot_be_drawn_from;
    permits:
        nodes_together_get_no_more_permits_than_a_minute_has
        permits_that_come_back_are_there_for_another_node
        another_tenants_minute_cannot_be_drawn_from;
    holds:
        a_released_hold_goes_back_from_its_nodes_allowance
        a_report_settles_its_hold_once_whoever_hears_of_it
        a_report_that_comes_too_late_is_booked_and_marked
        a_report_of_another_month_settles_nothing_in_the_holds_own
        of_many_who_end_a_hold_at_once_one_does
        a_hold_expires_on_its_own_node_first
        a_node_learns_of_its_living_and_its_ended_holds
        nodes_with_gates_and_holds_never_pass_the_limit;
    windows:
        calls_are_counted_in_their_minute_with_their_rows_and_once;
    nodes:
        a_retired_node_is_told_so_and_its_allowance_is_free
        a_node_that_begins_gives_back_what_it_had_drawn
        what_a_node_owes_stays_drawn_while_it_begins
        a_start_is_told_which_calls_the_ledger_has
        a_node_that_was_not_seen_for_long_loses_what_it_had_drawn
        news_of_a_change_and_of_a_lack_reach_other_nodes;
    masterkeys:
        seals_are_exchanged_in_batches_and_announced
        a_seal_that_was_replaced_meanwhile_stays;
    usage:
        history_is_paged_newest_first_without_gaps
        history_is_filtered
        a_summary_is_exact_over_days_and_integrations
        days_are_read_from_the_first_to_the_last
        an_export_has_every_call_once_oldest_first_and_nothing_that_settles_later
        sums_by_model_are_those_of_the_summary
        another_tenants_usage_is_not_seen;
    verify:
        a_changed_balance_is_named
        changed_cents_and_allowances_are_named
        a_changed_ledger_row_is_named
        a_changed_roll_up_is_named_and_rebuilt
        a_rebuild_of_good_roll_ups_changes_nothing
        a_lost_idempotency_key_is_noticed;
    atomicity:
        a_caller_who_goes_away_leaves_nothing_half_done
        what_was_begun_is_finished_although_nobody_waits
        batches_in_opposite_order_do_not_deadlock
        the_same_batch_from_many_sides_is_booked_once
        a_failed_change_leaves_no_trace
        statements_are_counted;
    locks:
        two_nodes_that_write_draw_and_hold_at_once_wait_in_no_circle
        three_nodes_that_write_draw_and_hold_at_once_wait_in_no_circle;
    audit:
        a_trail_is_good_as_it_was_written_and_tells_its_head
        a_changed_entry_is_named
        an_entry_that_was_taken_out_put_in_or_moved_is_named
        a_trail_that_was_cut_is_noticed
        a_head_that_was_kept_elsewhere_notices_what_the_kept_one_cannot
        another_key_makes_no_mark_that_fits
        every_trail_is_walked_and_the_bad_one_named
        an_entry_can_neither_be_changed_nor_deleted
        changes_at_once_make_one_chain
        a_gap_that_was_closed_is_named
        entries_are_filtered
        entries_bear_the_names_of_keys_that_one_may_know
        every_trail_is_listed_page_by_page
        entries_from_before_the_chain_are_taken_into_it;
    exactness:
        any_order_batching_and_repetition_give_the_same_books;
    migrations:
        migrating_twice_changes_nothing
        nodes_that_start_together_migrate_once
        a_newer_schema_is_refused
        a_changed_migration_is_refused
        a_row_that_cannot_be_true_is_refused_by_the_ledgers_table
        an_unmigrated_database_says_so;
}
