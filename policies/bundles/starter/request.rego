# The decision before a call leaves
#
# Allows what grants.rego, roles.rego, residency.rego and redaction.rego agree on; everything else is refused.
# The rules that allow run on each call and are kept short. The `refuse` rules beside them only say why, and run
# only when a call is refused: a missing one costs an explanation, never an allowance.
package cordon.request

# METADATA
# entrypoint: true
decision := {"allow": true, "endpoints": endpoints, "redact": redact} if {
	route := data.routes[input.route.id]
	granted(data.tenants[input.tenant.id].routes[input.route.id])
	role_held(route)
	endpoints := resident(input.candidates)
	redact := transforms(route)
	not "refuse" in redact
} else := {"allow": false, "reasons": refuse}
