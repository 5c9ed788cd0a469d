# The decision on an answer
#
# Asked at the answer's head, at each first new type of finding and at the end. The profile that the route names in
# data.routes.<route>.answers says what is redacted, what passes and what the output must look like.
package cordon.response

# METADATA
# entrypoint: true
decision := {"allow": true, "plan": "inspect", "redact": profile.redact, "output": output(profile)} if {
	profile := data.answers[data.routes[input.route.id].answers]
	every type, _ in input.content.findings {
		passes(type, profile)
	}
} else := {"allow": false, "reasons": refuse}
