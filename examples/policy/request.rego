# The decision before a call leaves
#
# A call may go to those endpoints that lie where the tenant's data may go. Card and account numbers are masked,
# secrets are refused. It asks nothing of routes and models by name, so one bundle serves every example.
package cordon.request

# METADATA
# entrypoint: true
decision := {"allow": true, "endpoints": resident, "redact": masked} if {
	resident != []
	not input.content.findings.api_key
} else := {"allow": false, "reasons": refuse}

resident := [candidate.id |
	some candidate in input.candidates
	candidate.jurisdiction in input.tenant.residency
]

masked := {type: "mask" | some type in ["payment_card", "iban", "us_ssn"]; input.content.findings[type]}

refuse contains reason if {
	resident == []
	reason := {
		"rule": "residency",
		"detail": sprintf("The data of %s must stay in %s, and no endpoint of %s lies there.", [
			input.tenant.id,
			concat(", ", input.tenant.residency),
			input.route.id,
		]),
		"fix": "Give the route an endpoint there, or widen the tenant's residency, in cordon.yaml.",
	}
}

refuse contains reason if {
	input.content.findings.api_key
	reason := {
		"rule": "secrets",
		"detail": sprintf("The request holds a secret (at %s).", [concat(", ", input.content.findings.api_key.pointers)]),
		"fix": "Take it out.",
	}
}
