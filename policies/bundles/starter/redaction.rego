# What may be in a request, by where it goes
#
# data.findings.<type>.<jurisdiction> says allow, refuse or how to redact (mask, drop, hash, or tokenise: the
# answer gets the value back). What a route exists to carry (data.routes.<route>.carries) passes. A type or
# jurisdiction that has no entry is refused.
package cordon.request

transforms(route) := {type: transform |
	some type, _ in input.content.findings
	transform := stance(type, route)
	transform != "allow"
}

# A call may be tried on any of its endpoints, so the strictest stance counts. The words are in that order:
# allow < drop < hash < mask < tokenise, and whoever refuses has the last say.
stance(type, route) := "allow" if {
	type in route.carries
} else := strictest if {
	said := {object.get(data.findings, [type, candidate.jurisdiction], "refuse") |
		some candidate in input.candidates
		candidate.jurisdiction in input.tenant.residency
	}
	not "refuse" in said
	strictest := max(said)
} else := "refuse"

refuse contains reason if {
	some type, "refuse" in transforms(data.routes[input.route.id])
	reason := {
		"rule": "redaction.refused",
		"detail": sprintf("The request holds %s, which may not go to the endpoints of the route %s (at %s).", [
			type,
			input.route.id,
			concat(", ", input.content.findings[type].pointers),
		]),
		"fix": sprintf("Take it out, or set findings.%s for these jurisdictions in the bundle's data.json.", [type]),
	}
}
