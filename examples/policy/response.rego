# The decision on an answer
#
# Card numbers and secrets are masked in it, and an answer with a private key is refused.
package cordon.response

# METADATA
# entrypoint: true
decision := {"allow": true, "redact": redact, "output": {"block": block}} if {
	is_object(input.content.findings)
	not refused
} else := {"allow": false, "reasons": refuse}

refuse contains {"rule": "private_key", "detail": "The answer holds a private key."} if refused

refused if input.content.findings["blocked_pattern:private_key"]

redact := {"payment_card": "mask", "us_ssn": "mask", "api_key": "mask"}

block := [{"id": "private_key", "pattern": "-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----"}]
