# What an answer may hold
#
# A finding passes if the profile redacts it or lists it under `allow`. Blocked patterns, too much text and a wrong
# shape are findings too (blocked_pattern:<id>, too_long, wrong_shape) and pass nowhere unless a profile lists them.
package cordon.response

passes(type, profile) if profile.redact[type]

else if type in profile.allow

# An upstream's error message does not have the shape of its answers.
output(profile) := profile.output if {
	input.answer.status < 400
} else := object.remove(profile.output, ["schema"])

refuse contains reason if {
	name := object.get(data.routes, [input.route.id, "answers"], "")
	not data.answers[name]
	reason := {
		"rule": "outputs.unknown_route",
		"detail": sprintf("The policy has no profile for the answers of the route %s.", [input.route.id]),
		"fix": sprintf("Set routes.%s.answers to a name below answers, in the bundle's data.json.", [input.route.id]),
	}
}

refuse contains reason if {
	name := data.routes[input.route.id].answers
	some type, _ in input.content.findings
	not passes(type, data.answers[name])
	reason := {
		"rule": "outputs.refused",
		"detail": sprintf("The answer holds %s, which the route %s does not let through.", [type, input.route.id]),
		"fix": sprintf("Ask for something else, or change answers.%s in the bundle's data.json.", [name]),
	}
}
