package cordon.redaction_test

import data.cordon.request
import data.starter_test as fixtures

rules := {reason.rule | some reason in request.decision.reasons}

test_personal_data_stays_as_it_is_within_the_eu if {
	request.decision.redact == {} with input as fixtures.call
		with input.content.findings as fixtures.found(["email", "phone", "ip_address"])
}

test_personal_data_is_masked_where_the_us_are_possible if {
	request.decision.redact == {"email": "mask", "phone": "mask"} with input as fixtures.call
		with input.tenant as fixtures.both
		with input.content.findings as fixtures.found(["email", "phone"])
}

test_payment_data_is_masked_everywhere if {
	request.decision.redact == {"payment_card": "mask", "iban": "mask", "us_ssn": "mask"} with input as fixtures.call
		with input.content.findings as fixtures.found(["payment_card", "iban", "us_ssn"])
}

test_an_api_key_is_refused if {
	rules == {"redaction.refused"} with input as fixtures.call with input.content.findings as fixtures.found(["api_key"])
}

test_a_refusal_says_where_the_finding_is if {
	decision := request.decision with input as fixtures.call with input.content.findings as fixtures.found(["api_key"])
	some reason in decision.reasons
	contains(reason.detail, "/a")
}

test_unreadable_content_goes_to_the_eu_only if {
	request.decision.allow with input as fixtures.call with input.content.findings as fixtures.found(["unreadable"])
	rules == {"redaction.refused"} with input as fixtures.call
		with input.tenant as fixtures.both
		with input.content.findings as fixtures.found(["unreadable"])
}

test_a_type_without_an_entry_is_refused if {
	rules == {"redaction.refused"} with input as fixtures.call with input.content.findings as fixtures.found(["dna"])
}

test_a_jurisdiction_without_an_entry_is_refused if {
	rules == {"redaction.refused"} with input as fixtures.call
		with input.tenant.residency as ["CH"]
		with input.candidates as [object.union(fixtures.eu, {"jurisdiction": "CH"})]
		with input.content.findings as fixtures.found(["email"])
}

test_a_route_may_carry_what_it_is_for if {
	request.decision.redact == {"us_ssn": "mask"} with input as fixtures.call
		with input.route as fixtures.payments
		with input.principal.roles as ["payments"]
		with input.content.findings as fixtures.found(["payment_card", "iban", "us_ssn"])
}

test_a_route_that_carries_nothing_lets_nothing_through if {
	request.decision.redact == {"payment_card": "mask"} with input as fixtures.call
		with input.content.findings as fixtures.found(["payment_card"])
		with data.routes as {"openai": {"roles": []}}
}

test_a_value_may_be_tokenised if {
	request.decision.redact == {"email": "tokenise"} with input as fixtures.call
		with data.findings.email as {"EU": "tokenise"}
		with input.content.findings as fixtures.found(["email"])
}

test_whoever_refuses_has_the_last_say if {
	rules == {"redaction.refused"} with input as fixtures.call
		with input.tenant as fixtures.both
		with data.findings.email as {"EU": "tokenise", "US": "refuse"}
		with input.candidates as [fixtures.eu, fixtures.us]
		with input.content.findings as fixtures.found(["email"])
}
