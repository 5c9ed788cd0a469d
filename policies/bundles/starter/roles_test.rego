package cordon.roles_test

import data.cordon.request
import data.starter_test as fixtures

rules := {reason.rule | some reason in request.decision.reasons}

test_a_route_of_high_risk_needs_its_role if {
	rules == {"roles.missing"} with input as fixtures.call with input.route as fixtures.payments
}

test_the_role_opens_the_route if {
	request.decision.allow with input as fixtures.call
		with input.route as fixtures.payments
		with input.principal.roles as ["developer", "payments"]
}

test_no_roles_at_all if {
	rules == {"roles.missing"} with input as fixtures.call
		with input.route as fixtures.payments
		with input.principal.roles as []
}

test_high_risk_without_roles_in_the_data_is_refused if {
	rules == {"roles.unassigned"} with input as fixtures.call
		with input.route.risk as "high"
		with input.principal.roles as ["payments"]
}
