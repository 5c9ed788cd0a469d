package cordon.request_test

import data.cordon.request
import data.starter_test as fixtures

test_an_ordinary_call_is_allowed if {
	request.decision == {"allow": true, "endpoints": ["openai-eu"], "redact": {}} with input as fixtures.call
}

test_no_document_no_allowance if {
	decision := request.decision with input as {}
	decision.allow == false
}

test_a_refusal_says_why_and_what_to_change if {
	decision := request.decision with input as fixtures.call with input.tenant.id as "nobody"
	decision.allow == false
	every reason in decision.reasons {
		reason.rule != ""
		reason.detail != ""
		reason.fix != ""
	}
}
