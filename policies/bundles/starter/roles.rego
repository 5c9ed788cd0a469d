# Which roles a route asks for
#
# data.routes.<route>.roles lists roles of which the caller needs one; an empty list asks for none. A route that
# cordon.yaml marks with `risk: high` must list some.
package cordon.request

role_held(route) if {
	route.roles == []
	input.route.risk != "high"
} else if {
	some role in input.principal.roles
	role in route.roles
}

refuse contains reason if {
	route := data.routes[input.route.id]
	not route.roles == []
	not role_held(route)
	reason := {
		"rule": "roles.missing",
		"detail": sprintf("The route %s needs a role that the caller's key does not have.", [input.route.id]),
		"fix": sprintf("Use a key with one of the roles: %s.", [concat(", ", route.roles)]),
	}
}

refuse contains reason if {
	input.route.risk == "high"
	data.routes[input.route.id].roles == []
	reason := {
		"rule": "roles.unassigned",
		"detail": sprintf("The route %s is of high risk, and the policy names no role for it.", [input.route.id]),
		"fix": sprintf("Set routes.%s.roles in the bundle's data.json.", [input.route.id]),
	}
}
