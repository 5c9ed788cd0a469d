package cordon.outputs_test

import data.cordon.response
import data.starter_test as fixtures

rules := {reason.rule | some reason in response.decision.reasons}

test_an_ordinary_answer_is_inspected if {
	decision := response.decision with input as fixtures.answer
	decision.allow
	decision.plan == "inspect"
	decision.redact.payment_card == "mask"
	decision.output.max_chars == 400000
	{pattern.id | some pattern in decision.output.block} == {"private_key", "confidential_marking"}
}

test_what_is_redacted_or_listed_passes if {
	response.decision.allow with input as fixtures.answer
		with input.phase as "finding"
		with input.content.findings as fixtures.found(["payment_card", "email", "unreadable"])
}

test_a_blocked_pattern_is_refused if {
	rules == {"outputs.refused"} with input as fixtures.answer
		with input.phase as "finding"
		with input.content.findings as fixtures.found(["email", "blocked_pattern:private_key"])
}

test_too_long_an_answer_is_refused if {
	rules == {"outputs.refused"} with input as fixtures.answer with input.content.findings as fixtures.found(["too_long"])
}

test_an_answer_of_the_wrong_shape_is_refused if {
	rules == {"outputs.refused"} with input as fixtures.answer
		with input.route as fixtures.payments
		with input.phase as "answer_end"
		with input.content.findings as fixtures.found(["wrong_shape"])
}

test_a_shape_is_asked_of_payments if {
	decision := response.decision with input as fixtures.answer with input.route as fixtures.payments
	decision.output.schema == {"type": "object"}
}

test_no_shape_is_asked_of_an_error if {
	decision := response.decision with input as fixtures.answer
		with input.route as fixtures.payments
		with input.answer.status as 502
	decision.allow
	not decision.output.schema
	decision.output.max_chars == 100000
}

test_an_unknown_route_is_refused if {
	rules == {"outputs.unknown_route"} with input as fixtures.answer with input.route.id as "elsewhere"
}

test_no_document_no_allowance if {
	decision := response.decision with input as {}
	decision.allow == false
}
