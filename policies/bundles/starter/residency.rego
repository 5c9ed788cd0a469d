# Where a tenant's data may go
#
# An endpoint is a candidate if its jurisdiction is among the tenant's residency (cordon.yaml). While one of these is
# healthy, only healthy ones are tried, in the configured order.
package cordon.request

resident(candidates) := ids if {
	ids := [candidate.id |
		some candidate in candidates
		candidate.healthy
		candidate.jurisdiction in input.tenant.residency
	]
	ids != []
} else := ids if {
	ids := [candidate.id |
		some candidate in candidates
		candidate.jurisdiction in input.tenant.residency
	]
	ids != []
}

refuse contains reason if {
	not resident(input.candidates)
	reason := {
		"rule": "residency.no_endpoint",
		"detail": sprintf("The data of %s must stay in %s, and the route %s has no endpoint there.", [
			input.tenant.id,
			concat(", ", input.tenant.residency),
			input.route.id,
		]),
		"fix": sprintf("Give the route %s an endpoint there, or widen the tenant's residency, in cordon.yaml.", [input.route.id]),
	}
}
