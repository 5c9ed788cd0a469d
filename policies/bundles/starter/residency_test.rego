package cordon.residency_test

import data.cordon.request
import data.starter_test as fixtures

rules := {reason.rule | some reason in request.decision.reasons}

test_only_endpoints_of_the_residency_are_left if {
	request.decision.endpoints == ["openai-eu"] with input as fixtures.call
}

test_both_jurisdictions_in_the_configured_order if {
	request.decision.endpoints == ["openai-eu", "openai-us"] with input as fixtures.call
		with input.tenant as fixtures.both
}

test_healthy_endpoints_are_preferred if {
	request.decision.endpoints == ["openai-us"] with input as fixtures.call
		with input.tenant as fixtures.both
		with input.candidates as [object.union(fixtures.eu, {"healthy": false}), fixtures.us]
}

test_unhealthy_ones_are_tried_when_there_are_no_others if {
	request.decision.endpoints == ["openai-eu"] with input as fixtures.call
		with input.candidates as [object.union(fixtures.eu, {"healthy": false}), fixtures.us]
}

test_no_endpoint_within_the_residency_is_refused if {
	rules == {"residency.no_endpoint"} with input as fixtures.call with input.candidates as [fixtures.us]
}

test_an_endpoint_without_jurisdiction_is_no_candidate if {
	rules == {"residency.no_endpoint"} with input as fixtures.call
		with input.candidates as [object.union(fixtures.eu, {"jurisdiction": ""})]
}

test_a_tenant_without_residency_is_refused if {
	rules == {"residency.no_endpoint"} with input as fixtures.call with input.tenant.residency as []
}
