"""Every key of genproxy.toml has a scenario with real daemons and peers that shows its effect.

A row names the key's section in the guide (`own` where it is beyond the guide), the key by the name that it
has in the file, and the scenarios: where one shows but one value, the next one shows another.
"""

from __future__ import annotations

import re
import typing
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic.fields import FieldInfo

from haproxy.settings import WITHOUT_EFFECT, Settings
from rtlib.settings import Section

SCENARIOS = Path(__file__).parents[1] / "scenarios"

SHOWN = """
3.1      system.systemName              sip_settings/test_names::test_system_name
3.2      system.privateIP               sip_settings/test_addresses::test_where_sip_is_spoken sip_settings/test_addresses::test_what_those_outside_are_told
3.3      system.privatePort             sip_settings/test_addresses::test_where_sip_is_spoken sip_settings/test_addresses::test_what_those_outside_are_told
3.4      system.privatePortTLS          sip_settings/test_addresses::test_where_sip_is_spoken sip_settings/test_addresses::test_what_those_outside_are_told
3.5      system.privateSubnet           sip_settings/test_addresses::test_who_is_on_the_private_network sip_peers/test_networks::test_the_router_s_address_is_shown_outside
3.7      system.publicIP                sip_settings/test_addresses::test_where_sip_is_spoken sip_settings/test_addresses::test_what_those_outside_are_told
3.8      system.publicPort              sip_settings/test_addresses::test_where_sip_is_spoken sip_settings/test_addresses::test_what_those_outside_are_told
3.9      system.publicPortTLS           sip_settings/test_addresses::test_where_sip_is_spoken sip_settings/test_addresses::test_what_those_outside_are_told
3.11     system.alias                   sip_settings/test_addresses::test_alias
3.12     system.mappedIP                sip_settings/test_addresses::test_where_sip_is_spoken sip_peers/test_networks::test_the_router_s_address_is_shown_outside
3.13     system.mappedPort              sip_settings/test_addresses::test_where_sip_is_spoken sip_settings/test_addresses::test_what_those_outside_are_told
3.14     system.mappedPortTLS           sip_settings/test_addresses::test_where_sip_is_spoken sip_settings/test_addresses::test_what_those_outside_are_told
own      system.nameServers             sip_dns/test_sip_dns::test_the_second_server_when_the_first_is_dead sip_dns/test_sip_dns::test_a_name_server_that_dies
own      system.tlsKeyPath              sip_tls/test_sections::test_server_sections sip_notification/test_https::test_tls
own      system.metricsListen           sip_settings/test_logs::test_metrics_listen
own      system.logLevel                sip_settings/test_logs::test_log_level
own      system.logFormat               sip_settings/test_logs::test_log_file_and_format
own      system.logFile                 sip_settings/test_logs::test_log_file_and_format

5.2.2    nodes.nodeName                 sip_protection/test_lists::test_what_the_lists_do_and_show
5.2.3    nodes.privateIP                sip_protection/test_lists::test_what_the_lists_do_and_show

7.1.1    proxy.serverHeader             sip_settings/test_names::test_server_header
7.1.2    proxy.userAgent                sip_settings/test_names::test_user_agent
7.1.3    proxy.enableTLS                sip_settings/test_addresses::test_where_sip_is_spoken
7.1.4    proxy.rrIgnoreSips             sip_tls/test_sip_tls::test_rr_ignore_sips sip_tls/test_sip_tls::test_calls_between_tls_and_udp_in_both_directions
7.1.5    proxy.enableRegAuth            sip_settings/test_registration::test_with_enable_reg_auth_a_phone_must_know_the_password
7.1.6    proxy.enableInviteAuth         sip_settings/test_calls::test_with_enable_invite_auth_a_phone_proves_itself sip_settings/test_calls::test_with_enable_invite_auth_only_registered_users_call
7.1.7    proxy.enableContactCheck       sip_settings/test_calls::test_whose_calls_are_ignored
7.1.8    proxy.enableRegCheck           sip_settings/test_calls::test_whose_calls_are_ignored
7.1.9    proxy.regRetryInterval         sip_registration/test_fields::test_every_field
7.1.10   proxy.notifyCaCert             sip_notification/test_https::test_tls
7.1.11   proxy.denyList                 sip_protection/test_lists::test_changes_while_it_runs sip_sipsak/test_sip_sipsak::test_who_may_not_hears_nothing
7.1.12   proxy.allowList                sip_sipsak/test_sip_sipsak::test_who_may_ask sip_sipsak/test_sip_sipsak::test_who_may_not_hears_nothing sip_settings/test_calls::test_whose_calls_are_ignored sip_settings/test_calls::test_with_enable_invite_auth_a_phone_proves_itself sip_protection/test_attacks::test_who_is_on_a_list_may_send_as_much_as_he_likes
7.1.13   proxy.proxyList                sip_routing/test_sip_routing::test_listed_ones_reach_another_domain sip_routing/test_sip_routing::test_others_do_not_reach_another_domain sip_sipsak/test_sip_sipsak::test_who_may_ask
7.1.14   proxy.enableNAT                sip_media/test_sip_media::test_with_enable_nat_the_descriptions_name_the_relay
7.1.15   proxy.enableAntiFlood          sip_protection/test_attacks::test_a_flood_is_blocked_and_forgiven_by_command sip_protection/test_attacks::test_switched_off_nobody_is_blocked_for_a_flood
own      proxy.floodRate                sip_protection/test_attacks::test_rates_and_intervals_are_settings
own      proxy.floodBurst               sip_protection/test_attacks::test_rates_and_intervals_are_settings
own      proxy.floodInterval            sip_protection/test_attacks::test_rates_and_intervals_are_settings
own      proxy.floodIntervals           sip_protection/test_attacks::test_rates_and_intervals_are_settings
own      proxy.floodBlockTime           sip_protection/test_attacks::test_a_block_ends_by_itself_when_it_has_become_quiet
own      proxy.strangerRate             sip_protection/test_calls_meanwhile::test_a_hundred_thousand_forged_senders_harm_nobody
own      proxy.scannerAgents            sip_protection/test_attacks::test_sipvicious_hears_nothing_and_is_blocked
own      proxy.protectionDryRun         sip_protection/test_attacks::test_a_dry_run_counts_and_blocks_nothing
7.1.16   proxy.enableAstFailover        sip_failover/test_sip_failover::test_probes_notice_a_death_without_any_call sip_dispatcher/test_keys::test_without_queries_only_calls_notice_a_death
7.1.17   proxy.astPersistentFailover    sip_failover/test_sip_failover::test_a_primary_that_comes_back
7.1.18   proxy.astPingMethod            sip_dispatcher/test_keys::test_who_is_asked_and_how
7.1.19   proxy.astPingInterval          sip_dispatcher/test_keys::test_how_often_it_is_asked
own      proxy.astPingTimeout           sip_dispatcher/test_keys::test_how_long_an_answer_is_waited_for
own      proxy.astPingRetry             sip_dispatcher/test_keys::test_how_soon_it_is_asked_again
own      proxy.astDownThreshold         sip_dispatcher/test_keys::test_how_many_failures_make_a_system_inactive
own      proxy.astUpThreshold           sip_dispatcher/test_keys::test_how_many_answers_make_it_active_again
own      proxy.astHoldDown              sip_dispatcher/test_keys::test_a_system_that_falls_again_is_held_down sip_dispatcher/test_keys::test_without_queries_it_is_tried_again_after_the_hold_down
7.1.20   proxy.dispatchPriUser          sip_dispatcher/test_keys::test_prefixes_of_both_sets_and_their_limits
7.1.21   proxy.dispatchSecUser          sip_dispatcher/test_keys::test_prefixes_of_both_sets_and_their_limits
7.1.22   proxy.dispatchLimit            sip_dispatcher/test_keys::test_prefixes_of_both_sets_and_their_limits sip_failover/test_sip_failover::test_the_primary_set_shares_the_calls
7.1.23   proxy.dispatchSize             sip_dispatcher/test_keys::test_both_sets_together_have_a_limit sip_failover/test_sip_failover::test_the_primary_set_shares_the_calls
7.1.24   proxy.dispatchListenSock       sip_dispatcher/test_http_control::test_get_and_post_over_tcp_and_tls_and_what_it_does_to_calls
7.1.25   proxy.dispatchAuthUser         sip_dispatcher/test_http_control::test_the_guides_hashes_instead_of_a_password sip_dispatcher/test_http_control::test_two_posts_at_once
7.1.26   proxy.dispatchAuthRealm        sip_dispatcher/test_http_control::test_the_guides_hashes_instead_of_a_password
7.1.27   proxy.dispatchAuthPassword     sip_dispatcher/test_http_control::test_a_captured_authorization_is_refused sip_dispatcher/test_http_control::test_get_and_post_over_tcp_and_tls_and_what_it_does_to_calls
7.1.28   proxy.dispatchAuthHa1          sip_dispatcher/test_http_control::test_the_guides_hashes_instead_of_a_password
7.1.29   proxy.dispatchAuthHa1b         sip_dispatcher/test_http_control::test_the_guides_hashes_instead_of_a_password
own      proxy.authAlgorithms           sip_settings/test_registration::test_algorithms_are_offered_in_this_order
own      proxy.registerDefaultExpires   sip_settings/test_registration::test_how_long_a_registration_lives
own      proxy.registerMinExpires       sip_settings/test_registration::test_how_long_a_registration_lives
own      proxy.registerMaxExpires       sip_settings/test_registration::test_how_long_a_registration_lives

9.2.1    tls.tlsDomain                  sip_tls/test_sections::test_server_sections sip_tls/test_sections::test_client_sections
9.2.2    tls.tlsRole                    sip_tls/test_sections::test_server_sections sip_tls/test_sections::test_client_sections
9.2.3    tls.method                     sip_tls/test_sections::test_server_sections
9.2.4    tls.tlsPrivateKey              sip_tls/test_sections::test_server_sections
9.2.5    tls.tlsCertificate             sip_tls/test_sections::test_server_sections
9.2.6    tls.tlsVerify                  sip_tls/test_sections::test_server_sections sip_tls/test_sections::test_client_sections
9.2.7    tls.tlsVerifyDepth             sip_tls/test_sections::test_server_sections
9.2.8    tls.tlsCaPath                  sip_tls/test_sections::test_server_sections sip_tls/test_sections::test_client_sections
9.2.9    tls.tlsCaList                  sip_tls/test_sections::test_server_sections
9.2.10   tls.tlsCrl                     sip_tls/test_sections::test_server_sections sip_tls/test_sections::test_client_sections
9.2.11   tls.tlsCipherList              sip_tls/test_sections::test_server_sections

10.2.1   notifications.notifyURL        sip_notification/test_http::test_user_password_redirects_and_answers
10.2.2   notifications.notifyRedirect   sip_notification/test_http::test_user_password_redirects_and_answers
10.2.3   notifications.notifyUser       sip_notification/test_http::test_user_password_redirects_and_answers
10.2.4   notifications.notifyPassword   sip_notification/test_http::test_user_password_redirects_and_answers
10.2.5   notifications.notifyUserAgent  sip_notification/test_http::test_user_password_redirects_and_answers
10.2.6   notifications.notifyVerifyPeer sip_notification/test_https::test_tls
10.2.7   notifications.notifyVerifyHost sip_notification/test_https::test_tls
10.2.8   notifications.notifyClientKey  sip_notification/test_https::test_tls
10.2.9   notifications.notifyClientCert sip_notification/test_https::test_tls
10.2.10  notifications.notifyCipherList sip_notification/test_https::test_tls
10.2.11  notifications.notifyTlsVersion sip_notification/test_https::test_tls

11.2.1   subscribers.username           sip_settings/test_registration::test_only_defined_users_of_the_defined_domain_may_register
11.2.2   subscribers.domain             sip_settings/test_registration::test_only_defined_users_of_the_defined_domain_may_register
11.2.3   subscribers.password           sip_settings/test_registration::test_password_ha1_and_ha1b sip_settings/test_registration::test_with_a_password_the_hashes_are_ignored
11.2.4   subscribers.ha1                sip_settings/test_registration::test_password_ha1_and_ha1b sip_settings/test_registration::test_with_a_password_the_hashes_are_ignored
11.2.5   subscribers.ha1b               sip_settings/test_registration::test_password_ha1_and_ha1b sip_settings/test_registration::test_with_a_password_the_hashes_are_ignored

12.2.1   outbound_registrations.l_uuid           sip_registration/test_fields::test_every_field
12.2.2   outbound_registrations.l_username       sip_registration/test_sip_registration::test_calls_of_the_provider_and_drain
12.2.3   outbound_registrations.l_domain         sip_registration/test_sip_registration::test_calls_of_the_provider_and_drain
12.2.4   outbound_registrations.r_username       sip_registration/test_fields::test_every_field
12.2.5   outbound_registrations.r_domain         sip_registration/test_fields::test_every_field
12.2.6   outbound_registrations.realm            sip_registration/test_fields::test_every_field
12.2.7   outbound_registrations.auth_username    sip_registration/test_fields::test_every_field
12.2.8   outbound_registrations.auth_password    sip_registration/test_fields::test_every_field
12.2.9   outbound_registrations.auth_ha1         sip_registration/test_fields::test_every_field
12.2.10  outbound_registrations.auth_proxy       sip_registration/test_fields::test_every_field sip_registration/test_names::test_failover_and_tls
12.2.11  outbound_registrations.expires          sip_registration/test_fields::test_every_field
12.2.12  outbound_registrations.reg_delay        sip_registration/test_fields::test_every_field
12.2.13  outbound_registrations.reg_contact_addr sip_registration/test_fields::test_every_field
12.2.14  outbound_registrations.socket           sip_registration/test_fields::test_every_field
"""  # noqa: E501  a table

CLUSTER = "the cluster: nodes that watch each other, take over, and cut each other off"
RTP = "the RTP proxy: keys of chapter 8"
DATABASE = "the cluster and its web configuration: databases on servers"

LATER = {
    "system.privatePing": CLUSTER,
    "system.publicPing": CLUSTER,
    "system.startAtBoot": CLUSTER,
    "system.onFailMode": CLUSTER,
    "system.startup-fencing": CLUSTER,
    "nodes.nodeID": CLUSTER,
    "nodes.publicIP": CLUSTER,
    "nodes.sshKeyEnable": CLUSTER,
    "nodes.sshPassword": CLUSTER,
    "media.*": RTP,
    "database.*": DATABASE,
    "fences.*": CLUSTER,
}
"""Keys of parts that are still to be built, and which part that is."""


def fields() -> Iterator[tuple[str, str, str, FieldInfo]]:
    """Table, key, its attribute, and what the schema says of it."""
    for table, field in Settings.model_fields.items():
        kinds = (field.annotation, *typing.get_args(field.annotation))
        (section,) = (each for each in kinds if isinstance(each, type) and issubclass(each, Section))
        for name, each in section.model_fields.items():
            yield table, each.alias or name, name, each


ROWS = [line.split() for line in SHOWN.splitlines() if line]
KEYS = {f"{table}.{key}": field for table, key, _, field in fields()}
NAMES = {f"{table}.{name}": f"{table}.{key}" for table, key, name, _ in fields()}
"""Attributes of the schema, and the keys in the file."""
SHOWN_KEYS = {key for _, key, *_ in ROWS}


def is_later(key: str) -> bool:
    return key in LATER or f"{key.partition('.')[0]}.*" in LATER


def test_every_key_has_a_row() -> None:
    assert len(SHOWN_KEYS) == len(ROWS), "a key has two rows"
    without = [key for key in KEYS if key not in SHOWN_KEYS and not is_later(key)]
    assert not without, "these keys need a scenario that shows their effect"
    assert KEYS.keys() >= SHOWN_KEYS, "there is no such key"
    assert not [key for key in SHOWN_KEYS if is_later(key)], "what is shown is not for later"


def test_what_is_for_later_is_there_and_not_more_than_that() -> None:
    """What the program itself says to have no effect yet cannot be shown."""
    tables = {key.partition(".")[0] for key in KEYS}
    for key in LATER:
        assert key in KEYS or (key.endswith(".*") and key[:-2] in tables), key
    idle = {f"{table}.{name}" for table, names in WITHOUT_EFFECT.items() for name in names}
    assert idle <= {name for name, key in NAMES.items() if is_later(key)}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[1])
def test_the_scenarios_are_there(row: list[str]) -> None:
    section, key, *scenarios = row
    description = str(KEYS[key].description)
    assert (section == "own") is description.startswith("beyond the guide"), description
    assert scenarios
    assert len(set(scenarios)) == len(scenarios)
    texts = {
        scenario: (SCENARIOS / f"{scenario.partition('::')[0]}.py").read_text() for scenario in scenarios
    }
    for scenario, text in texts.items():
        assert re.search(rf"^def {scenario.partition('::')[2]}\(", text, re.MULTILINE), scenario
    word = re.compile(rf"\b{re.escape(key.partition('.')[2])}\b")
    assert any(map(word.search, texts.values())), "none of these files sets the key"
