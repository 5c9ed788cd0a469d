# Which tenant may use which route and which models
#
# data.tenants.<tenant>.routes.<route> grants a route. On a model route, `models` lists names that may be asked for
# and `families` lists how such names may begin; that holds for every path. Of calls that name no model, only the list
# of models may be read: stored responses, files, batches and what else a vendor keeps are shared by all who use the
# same credential. `"without_model": true` grants them.
package cordon.request

granted(grant) if input.model.requested in grant.models

else if strings.any_prefix_match(input.model.requested, grant.families)

else if input.route.kind == "http"

else if {
	input.model.requested == ""
	input.call.operation == "models"
}

else if {
	input.model.requested == ""
	grant.without_model == true
}

refuse contains reason if {
	not data.tenants[input.tenant.id]
	reason := {
		"rule": "grants.tenant",
		"detail": sprintf("The policy does not know the tenant %s.", [input.tenant.id]),
		"fix": sprintf("Add tenants.%s with its routes to the bundle's data.json.", [input.tenant.id]),
	}
}

refuse contains reason if {
	tenant := data.tenants[input.tenant.id]
	not tenant.routes[input.route.id]
	reason := {
		"rule": "grants.route",
		"detail": sprintf("The tenant %s may not use the route %s.", [input.tenant.id, input.route.id]),
		"fix": sprintf("Add tenants.%s.routes.%s to the bundle's data.json.", [input.tenant.id, input.route.id]),
	}
}

refuse contains reason if {
	not data.routes[input.route.id]
	reason := {
		"rule": "grants.unknown_route",
		"detail": sprintf("The policy does not know the route %s.", [input.route.id]),
		"fix": sprintf("Add routes.%s to the bundle's data.json.", [input.route.id]),
	}
}

refuse contains reason if {
	grant := data.tenants[input.tenant.id].routes[input.route.id]
	not granted(grant)
	input.model.requested == ""
	reason := {
		"rule": "grants.no_model",
		"detail": sprintf("The call names no model, and the tenant %s may make no such calls on the route %s.", [
			input.tenant.id,
			input.route.id,
		]),
		"fix": sprintf("Name a model, or set tenants.%s.routes.%s.without_model to true in the bundle's data.json.", [
			input.tenant.id,
			input.route.id,
		]),
	}
}

refuse contains reason if {
	grant := data.tenants[input.tenant.id].routes[input.route.id]
	not granted(grant)
	input.model.requested != ""
	reason := {
		"rule": "grants.model",
		"detail": sprintf("The tenant %s may not use this model on the route %s.", [input.tenant.id, input.route.id]),
		"fix": sprintf("Ask for one of %s, or a model that begins with one of %s.", [
			concat(", ", object.get(grant, "models", [])),
			concat(", ", object.get(grant, "families", [])),
		]),
	}
}
