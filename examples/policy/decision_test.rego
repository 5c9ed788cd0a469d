package example_test

import data.cordon.request
import data.cordon.response

call := {
	"tenant": {"id": "acme", "residency": ["EU"]},
	"route": {"id": "openai"},
	"candidates": [{"id": "eu", "jurisdiction": "EU"}, {"id": "us", "jurisdiction": "US"}],
	"content": {"findings": {}},
}

found(type) := {type: {"count": 1, "confidence": 95, "pointers": ["/a"]}}

test_a_call_goes_where_the_data_may_go if {
	request.decision == {"allow": true, "endpoints": ["eu"], "redact": {}} with input as call
}

test_no_endpoint_there_is_refused if {
	decision := request.decision with input as call with input.tenant.residency as ["CH"]
	not decision.allow
	{reason.rule | some reason in decision.reasons} == {"residency"}
}

test_a_card_number_is_masked if {
	decision := request.decision with input as call with input.content.findings as found("payment_card")
	decision.redact == {"payment_card": "mask"}
}

test_a_secret_is_refused if {
	decision := request.decision with input as call with input.content.findings as found("api_key")
	{reason.rule | some reason in decision.reasons} == {"secrets"}
}

test_an_answer_with_a_private_key_is_refused if {
	decision := response.decision with input as {"content": {"findings": found("blocked_pattern:private_key")}}
	not decision.allow
	{reason.rule | some reason in decision.reasons} == {"private_key"}
}

test_no_document_no_allowance if {
	request.decision.allow == false with input as {}
	response.decision.allow == false with input as {}
}

test_another_answer_passes_masked if {
	decision := response.decision with input as {"content": {"findings": found("email")}}
	decision.allow
	decision.redact.api_key == "mask"
}
