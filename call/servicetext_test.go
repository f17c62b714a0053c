package call

import (
	"encoding/json"
	"errors"
	"math"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/nats-io/nats.go/micro"
	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus"
)

// What ADR-32 allows as the name of a service, or of an endpoint.
var allowedName = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

func TestNamesOfServicesAreAllowedAndReadable(t *testing.T) {
	for name, want := range map[string]string{
		"rolebus-default": "rolebus-default",
		"Charge_2-b":      "Charge_2-b",
		"billing.charge":  "billing_charge-80ba498a",
		"billing charge":  "billing_charge-98e14c4c",
		"größe":           "gr____e-d353a267",
		"*":               "_-684888c0",
	} {
		require.Equal(t, want, serviceName(name), name)
	}
}

func FuzzNameOfAService(f *testing.F) {
	for _, name := range []string{"charge", "a.b", "a_b", "a_b-c4b28b3b", "größe", "\x00", strings.Repeat("=", 66)} {
		f.Add(name, name+"_")
	}
	f.Fuzz(func(t *testing.T, one, other string) {
		if one == "" || other == "" {
			return // neither is a name
		}
		require.Regexp(t, allowedName, serviceName(one))
		require.Equal(t, one == other, serviceName(one) == serviceName(other))
	})
}

func oddLife() micro.ServiceIdentity { return serviceOf("fleet", "eu.west", "api 1>", 1764158545123) }

func TestAServiceIsOneLifeOfANodeInAScope(t *testing.T) {
	id := oddLife()
	require.Regexp(t, allowedName, id.Name)
	require.Equal(t, "api=201=3E-1764158545123", id.ID)
	require.Equal(t, rolebus.SubjectToken("api 1>")+"-1764158545123", id.ID, "one token of a subject")
	require.Equal(t, map[string]string{"bucket": "fleet", "scope": "eu.west", "node": "api 1>", "incarnation": "1764158545123"}, id.Metadata)
	require.Equal(t, "rolebus-default", serviceOf("rolebus", "default", "a", 1).Name)
	require.NotEqual(t, serviceOf("b", "eu.west", "a", 1).Name, serviceOf("b", "eu_west", "a", 1).Name, "scopes are kept apart")
}

func TestTheAnswersAreThoseOfADR32(t *testing.T) {
	since := time.Date(2026, 11, 26, 13, 0, 0, 0, time.FixedZone("CET", 3600))
	methods := []served{
		{"ship", "fleet.call.eu=2Ewest.api=201=3E.1764158545123.ship", EndpointStats{Since: since}},
		{"größe", "fleet.call.eu=2Ewest.api=201=3E.1764158545123.gr=C3=B6=C3=9Fe", EndpointStats{
			Requests: 4, Errors: 2, Refused: 1, Running: 3, Waiting: 7, LastError: "no such size", Time: 10 * time.Millisecond, Since: since.Add(-time.Hour),
		}},
	}
	for want, said := range map[string]any{
		`{"name":"fleet-eu_west-NAME","id":"api=201=3E-1764158545123","version":"1.0.0",
		  "metadata":{"bucket":"fleet","scope":"eu.west","node":"api 1>","incarnation":"1764158545123"},"type":"io.nats.micro.v1.ping_response"}`: pingOf(oddLife()),
		`{"name":"fleet-eu_west-NAME","id":"api=201=3E-1764158545123","version":"1.0.0",
		  "metadata":{"bucket":"fleet","scope":"eu.west","node":"api 1>","incarnation":"1764158545123"},"type":"io.nats.micro.v1.info_response",
		  "description":"node \"api 1>\" in scope \"eu.west\"","endpoints":[
		  {"name":"gr____e-d353a267","subject":"fleet.call.eu=2Ewest.api=201=3E.1764158545123.gr=C3=B6=C3=9Fe","queue_group":"","metadata":{"method":"größe"}},
		  {"name":"ship","subject":"fleet.call.eu=2Ewest.api=201=3E.1764158545123.ship","queue_group":"","metadata":{"method":"ship"}}]}`: infoOf(oddLife(), methods),
		`{"name":"fleet-eu_west-NAME","id":"api=201=3E-1764158545123","version":"1.0.0",
		  "metadata":{"bucket":"fleet","scope":"eu.west","node":"api 1>","incarnation":"1764158545123"},"type":"io.nats.micro.v1.stats_response",
		  "started":"2026-11-26T11:00:00Z","endpoints":[
		  {"name":"gr____e-d353a267","subject":"fleet.call.eu=2Ewest.api=201=3E.1764158545123.gr=C3=B6=C3=9Fe","queue_group":"","num_requests":4,"num_errors":2,
		   "last_error":"no such size","processing_time":10000000,"average_processing_time":2500000,
		   "data":{"refused":1,"running":3,"waiting":7,"since":"2026-11-26T11:00:00Z"}},
		  {"name":"ship","subject":"fleet.call.eu=2Ewest.api=201=3E.1764158545123.ship","queue_group":"","num_requests":0,"num_errors":0,"last_error":"",
		   "processing_time":0,"average_processing_time":0,"data":{"refused":0,"running":0,"waiting":0,"since":"2026-11-26T12:00:00Z"}}]}`: statsOf(oddLife(), methods),
	} {
		text, err := json.Marshal(said)
		require.NoError(t, err)
		require.JSONEq(t, strings.ReplaceAll(want, "fleet-eu_west-NAME", oddLife().Name), string(text))
	}
}

func TestAServiceWithoutEndpointsHasAnEmptyListOfThem(t *testing.T) {
	for _, said := range []any{infoOf(oddLife(), nil), statsOf(oddLife(), nil)} {
		text, err := json.Marshal(said)
		require.NoError(t, err)
		require.Contains(t, string(text), `"endpoints":[]`)
	}
}

// An error's text may be anything: it was made elsewhere.
func TestOddErrorsAreStillJSON(t *testing.T) {
	stats := EndpointStats{Requests: math.MaxInt64, LastError: errors.New("\xff\x00\n\"").Error(), Time: math.MaxInt64}
	text, err := json.Marshal(statsOf(oddLife(), []served{{"m", "s", stats}}))
	require.NoError(t, err)
	require.True(t, utf8.Valid(text))
	var read micro.Stats
	require.NoError(t, json.Unmarshal(text, &read))
	require.Equal(t, "\uFFFD\x00\n\"", read.Endpoints[0].LastError)
}
