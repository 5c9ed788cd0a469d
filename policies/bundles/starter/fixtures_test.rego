# Documents that the tests of the other files begin with.
package starter_test

call := {
	"phase": "request",
	"principal": {"id": "acme/ci-bot", "tenant": "acme", "roles": ["developer"], "key": "k1"},
	"tenant": {"id": "acme", "residency": ["EU"]},
	"route": {"id": "openai", "kind": "model", "dialect": "openai", "risk": "low"},
	"call": {"id": "c1", "attempt": 1, "method": "POST", "dialect": "openai", "operation": "chat"},
	"candidates": [eu, us],
	"content": {"media_type": "application/json", "bytes": 900, "findings": {}, "labels": {}},
	"model": {"requested": "gpt-5-mini", "stream": false},
}

eu := {
	"id": "openai-eu",
	"region": "eu-west-1",
	"jurisdiction": "EU",
	"provider": "openai",
	"model": "",
	"healthy": true,
}

us := {
	"id": "openai-us",
	"region": "us-east-1",
	"jurisdiction": "US",
	"provider": "openai",
	"model": "",
	"healthy": true,
}

both := {"id": "globex", "residency": ["US", "EU"]}

payments := {"id": "payments", "kind": "http", "dialect": "", "risk": "high"}

found(types) := {type: finding | some type in types; finding := {"count": 1, "confidence": 95, "pointers": ["/a"]}}

answer := {
	"phase": "answer_head",
	"principal": call.principal,
	"tenant": call.tenant,
	"route": call.route,
	"call": call.call,
	"endpoint": eu,
	"request_content": call.content,
	"content": {"media_type": "application/json", "bytes": 0, "findings": {}, "labels": {}},
	"model": call.model,
	"answer": {"status": 200, "media_type": "application/json", "model": "gpt-5-mini"},
}
