package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/url"
	"os"
	"strings"

	auth "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"github.com/open-policy-agent/opa/v1/util"
	"google.golang.org/protobuf/encoding/protojson"
)

// config says who may call and what there is to be called: keys by their SHA-256 in hexadecimal, routes by prefix.
type config struct {
	Keys map[string]struct {
		ID        string   `json:"id"`
		Principal string   `json:"principal"`
		Tenant    string   `json:"tenant"`
		Residency []string `json:"residency"`
		Roles     []string `json:"roles"`
	} `json:"keys"`
	Routes []struct {
		ID        string           `json:"id"`
		Prefix    string           `json:"prefix"`
		Kind      string           `json:"kind"`
		Dialect   string           `json:"dialect"`
		Risk      string           `json:"risk"`
		Endpoints []map[string]any `json:"endpoints"`
	} `json:"routes"`
}

func readConfig(file string) (*config, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	read := &config{}
	return read, json.Unmarshal(text, read)
}

// input is the plugin's document with what the starter bundle reads beside it; an error where the caller or the body
// is not known for certain.
func (c *config) input(request *auth.CheckRequest) (map[string]any, error) {
	http := request.GetAttributes().GetRequest().GetHttp()
	secret, found := strings.CutPrefix(http.GetHeaders()["authorization"], "Bearer ")
	digest := sha256.Sum256([]byte(secret))
	caller, known := c.Keys[hex.EncodeToString(digest[:])]
	if !found || !known {
		return nil, errors.New("no key, or one that is not known")
	}
	input, err := pluginInput(request)
	if err != nil {
		return nil, err
	}
	body, _ := input["parsed_body"].(map[string]any)
	model, _ := body["model"].(string)
	stream, _ := body["stream"].(bool)
	input["principal"] = map[string]any{
		"id": caller.Principal, "tenant": caller.Tenant, "roles": toAny(caller.Roles), "key": caller.ID,
	}
	input["tenant"] = map[string]any{"id": caller.Tenant, "residency": toAny(caller.Residency)}
	input["model"] = map[string]any{"requested": model, "stream": stream}
	input["call"] = map[string]any{"id": http.GetId(), "attempt": 1, "method": http.GetMethod()}
	input["content"] = map[string]any{"bytes": http.GetSize(), "findings": map[string]any{}}
	for _, route := range c.Routes {
		if strings.HasPrefix(http.GetPath(), route.Prefix+"/") {
			input["route"] = map[string]any{
				"id": route.ID, "kind": route.Kind, "dialect": route.Dialect, "risk": route.Risk,
			}
			candidates := make([]any, len(route.Endpoints))
			for index, endpoint := range route.Endpoints {
				candidates[index] = endpoint
			}
			input["candidates"] = candidates
		}
	}
	return input, nil
}

// pluginInput is the document that opa-envoy-plugin makes of a request.
func pluginInput(request *auth.CheckRequest) (map[string]any, error) {
	text, err := protojson.Marshal(request)
	if err != nil {
		return nil, err
	}
	input := map[string]any{}
	if err := util.UnmarshalJSON(text, &input); err != nil {
		return nil, err
	}
	http := request.GetAttributes().GetRequest().GetHttp()
	target, err := url.ParseRequestURI(http.GetPath())
	if err != nil {
		return nil, err
	}
	path := []any{}
	for _, segment := range strings.Split(strings.TrimPrefix(target.Path, "/"), "/") {
		path = append(path, segment)
	}
	query := map[string]any{}
	for name, values := range target.Query() {
		query[name] = toAny(values)
	}
	input["parsed_path"] = path
	input["parsed_query"] = query
	input["truncated_body"] = http.GetHeaders()["x-envoy-auth-partial-body"] == "true"
	input["version"] = map[string]any{"ext_authz": "v3", "encoding": "protojson"}
	input["parsed_body"] = nil
	if strings.HasPrefix(http.GetHeaders()["content-type"], "application/json") && http.GetBody() != "" {
		var body any
		if err := util.UnmarshalJSON([]byte(http.GetBody()), &body); err != nil {
			return nil, errors.New("the body is not JSON")
		}
		input["parsed_body"] = body
	}
	return input, nil
}

func toAny(values []string) []any {
	made := make([]any, len(values))
	for index, value := range values {
		made[index] = value
	}
	return made
}
