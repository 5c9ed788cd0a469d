package cordon.grants_test

import data.cordon.request
import data.starter_test as fixtures

rules := {reason.rule | some reason in request.decision.reasons}

test_an_unknown_tenant_is_refused if {
	rules == {"grants.tenant"} with input as fixtures.call with input.tenant.id as "nobody"
}

test_a_route_that_is_not_granted_is_refused if {
	rules == {"grants.route"} with input as fixtures.call
		with data.tenants as {"acme": {"routes": {"anthropic": {"models": [], "families": []}}}}
}

test_an_unknown_route_is_refused if {
	rules == {"grants.route", "grants.unknown_route"} with input as fixtures.call with input.route.id as "elsewhere"
}

test_a_model_of_another_family_is_refused if {
	rules == {"grants.model"} with input as fixtures.call with input.model.requested as "llama-4"
}

test_a_model_is_granted_by_its_name if {
	request.decision.allow with input as fixtures.call
		with input.model.requested as "llama-4"
		with data.tenants as {"acme": {"routes": {"openai": {"models": ["llama-4"], "families": []}}}}
}

test_a_name_grants_no_longer_names if {
	rules == {"grants.model"} with input as fixtures.call
		with input.model.requested as "llama-4-huge"
		with data.tenants as {"acme": {"routes": {"openai": {"models": ["llama-4"], "families": []}}}}
}

test_a_call_that_names_no_model_is_refused if {
	rules == {"grants.no_model"} with input as fixtures.call with input.model.requested as ""
}

test_the_list_of_models_may_be_read if {
	request.decision.allow with input as fixtures.call
		with input.model.requested as ""
		with input.call.operation as "models"
}

test_what_a_vendor_keeps_may_not_be_read if {
	rules == {"grants.no_model"} with input as fixtures.call
		with input.model.requested as ""
		with input.call.method as "GET"
		with input.call.operation as ""
	rules == {"grants.no_model"} with input as fixtures.call
		with input.model.requested as ""
		with input.call.method as "GET"
		with input.call.operation as "responses"
}

test_what_a_vendor_keeps_may_be_granted if {
	grants := {"acme": {"routes": {"openai": {"models": [], "families": [], "without_model": true}}}}
	request.decision.allow with input as fixtures.call
		with input.model.requested as ""
		with input.call.operation as ""
		with data.tenants as grants
	rules == {"grants.model"} with input as fixtures.call
		with input.model.requested as "gpt-5-mini"
		with data.tenants as grants
}

test_a_model_is_granted_on_every_path if {
	request.decision.allow with input as fixtures.call with input.call.operation as ""
	rules == {"grants.model"} with input as fixtures.call
		with input.call.operation as ""
		with input.model.requested as "llama-4"
	rules == {"grants.model"} with input as fixtures.call
		with input.call.operation as "models"
		with input.model.requested as "llama-4"
}

test_an_http_route_needs_no_model if {
	request.decision.allow with input as fixtures.call
		with input.route as {"id": "crm", "kind": "http", "dialect": "", "risk": "low"}
		with input.model as {"requested": "", "stream": false}
}
